"""What a person wrote into the `approve` or `reject` annotation, parsed once.

| value | kind |
|---|---|
| unset, empty, `false` | NONE |
| `true`, `true@<anything>` | ONE_SHOT: one request, then used up |
| 12 hex digits | ID: exactly this request |
| `sha256:<64 hex digits>` | DIGEST: this change, whenever it is asked for |
| anything else, also a prefix of an id | INVALID: approves nothing, reported |
"""

import enum
import re
from dataclasses import dataclass

LONGEST = 256
"""Characters of a token; a longer value is INVALID, since what was used up must fit into the status."""

_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class TokenKind(enum.Enum):
    """What a token asks for."""

    NONE = enum.auto()
    ONE_SHOT = enum.auto()
    ID = enum.auto()
    DIGEST = enum.auto()
    INVALID = enum.auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A parsed annotation value; `text` is empty for NONE and cut to LONGEST for INVALID."""

    kind: TokenKind = TokenKind.NONE
    text: str = ""
    complaint: str = ""
    """For INVALID: what is wrong with it, as the end of a sentence."""


NO_TOKEN = Token()


def parse_token(value: object) -> Token:
    """Parse an annotation value; None means unset. Never raises."""
    if value is None or value in ("", "false"):
        return NO_TOKEN
    if not isinstance(value, str):
        return Token(TokenKind.INVALID, "", "is not a string")
    if len(value) > LONGEST:
        return Token(TokenKind.INVALID, value[:LONGEST], f"is longer than {LONGEST} characters")
    if value == "true" or (value.startswith("true@") and len(value) > len("true@")):
        return Token(TokenKind.ONE_SHOT, value)
    if _ID.fullmatch(value):
        return Token(TokenKind.ID, value)
    if _DIGEST.fullmatch(value):
        return Token(TokenKind.DIGEST, value)
    return Token(TokenKind.INVALID, value, _complain(value))


def _complain(value: str) -> str:
    lowered = value.strip().lower()
    if lowered != value and (lowered.startswith("true") or _ID.fullmatch(lowered) or _DIGEST.fullmatch(lowered)):
        return "must be written in lower case and without spaces"
    if re.fullmatch(r"[0-9a-f]{1,63}", value):
        return f"has {len(value)} hex digits; an id has 12, and a part of one is not accepted"
    if value.startswith("sha256:"):
        return "is not a whole digest: sha256: and 64 lower-case hex digits"
    return "is neither true, true@<anything>, a request id of 12 hex digits nor a sha256: digest"
