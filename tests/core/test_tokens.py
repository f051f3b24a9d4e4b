"""What people write into an annotation: what it asks for, or what is wrong with it."""

import pytest

from pipeline_approver.core.tokens import LONGEST, TokenKind, parse_token

ID, DIGEST = "0123456789ab", "sha256:" + "0f" * 32


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, TokenKind.NONE),
        ("", TokenKind.NONE),
        ("false", TokenKind.NONE),
        ("true", TokenKind.ONE_SHOT),
        ("true@2", TokenKind.ONE_SHOT),
        ("true@" + "x" * (LONGEST - len("true@")), TokenKind.ONE_SHOT),
        (ID, TokenKind.ID),
        (DIGEST, TokenKind.DIGEST),
    ],
)
def test_what_a_value_asks_for(value: object, kind: TokenKind) -> None:
    token = parse_token(value)
    assert (token.kind, token.complaint) == (kind, "")
    assert token.text == ("" if kind is TokenKind.NONE else value)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("True", "must be written in lower case and without spaces"),
        (" true", "must be written in lower case and without spaces"),
        (ID.upper(), "must be written in lower case and without spaces"),
        (f"{ID}\n", "must be written in lower case and without spaces"),
        (DIGEST.upper(), "must be written in lower case and without spaces"),
        (ID[:8], "has 8 hex digits; an id has 12, and a part of one is not accepted"),
        (f"{ID}c", "has 13 hex digits; an id has 12, and a part of one is not accepted"),
        (DIGEST[:-1], "is not a whole digest: sha256: and 64 lower-case hex digits"),
        (f"{DIGEST}0", "is not a whole digest: sha256: and 64 lower-case hex digits"),
        ("true@", "is neither true, true@<anything>, a request id of 12 hex digits nor a sha256: digest"),
        ("yes", "is neither true, true@<anything>, a request id of 12 hex digits nor a sha256: digest"),
        ("FALSE", "is neither true, true@<anything>, a request id of 12 hex digits nor a sha256: digest"),
        ("٠" * 12, "is neither true, true@<anything>, a request id of 12 hex digits nor a sha256: digest"),
        (True, "is not a string"),
        (0, "is not a string"),
        ("true@" + "x" * (LONGEST - len("true@") + 1), "is longer than 256 characters"),
    ],
)
def test_what_is_wrong_with_a_value(value: object, complaint: str) -> None:
    token = parse_token(value)
    assert (token.kind, token.complaint) == (TokenKind.INVALID, complaint)
    assert len(token.text) <= LONGEST
