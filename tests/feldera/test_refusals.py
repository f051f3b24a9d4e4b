"""Every refusal lands on the right leaf of the error tree, and says truthfully whether the call was carried out."""

import json
from typing import Any

import httpx
import pytest

from pipeline_approver.feldera import errors
from pipeline_approver.feldera.client import FelderaClient

HTML = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
UNREACHABLE = "Error sending HTTP request to pipeline: "

# HTTP status, Feldera's code, its message, what that is, and whether an approval was carried out.
REFUSALS: list[tuple[int, str | None, str, type[errors.FelderaError], bool | None]] = [
    (400, "InvalidBootstrapConfig", "silent and concurrent exclude each other", errors.Refused, False),
    (400, "InvalidParam", "silent and concurrent exclude each other", errors.Refused, False),
    (400, None, "Query deserialize error", errors.BadAnswer, False),
    (401, "AuthenticationFailed", "Unauthorized API key", errors.Unauthorized, False),
    (401, None, "", errors.Unauthorized, False),
    (403, "InsufficientPermissions", "requires the role 'write'", errors.Forbidden, False),
    (403, None, "blocked by the firewall", errors.Forbidden, False),
    (404, "UnknownPipelineName", "Unknown pipeline name 'orders'", errors.NotFound, False),
    (404, "UnknownTenantName", "Unknown tenant", errors.Refused, False),
    (404, None, "no such page", errors.BadAnswer, False),
    (405, None, "", errors.BadAnswer, False),
    (409, "BootstrapRejected", "rejected", errors.Refused, False),
    (400, "IncarnationUuidMismatch", "another process", errors.Refused, False),
    (408, None, "", errors.Ambiguous, None),
    (413, None, "", errors.BadAnswer, False),
    (429, None, "slow down", errors.Throttled, False),
    (429, "ApiConnectionLimit", "slow down", errors.Throttled, False),
    (500, "PostgresError", "connection closed", errors.Ambiguous, None),
    (500, "PostgresPoolError", "timed out", errors.Ambiguous, None),
    (500, "PipelineMissingDeploymentLocation", "", errors.Ambiguous, None),
    (500, "PipelineInteractionInvalidResponse", "", errors.Ambiguous, None),
    (500, None, "", errors.Ambiguous, None),
    (501, "EnterpriseFeature", "Enterprise only", errors.Unsupported, False),
    (501, None, "method not implemented by this proxy", errors.Ambiguous, None),
    (502, None, HTML, errors.Ambiguous, None),
    (503, "PipelineInteractionNotDeployed", "not provisioned", errors.NotReady, False),
    (503, "PipelineUnavailable", "unavailable", errors.NotReady, False),
    (503, "Initializing", "still initializing", errors.NotReady, False),
    (503, "PipelineInteractionUnreachable", f"{UNREACHABLE}Failed to connect to host", errors.NotReady, False),
    (503, "PipelineInteractionUnreachable", f"{UNREACHABLE}timeout", errors.Ambiguous, None),
    (503, "LockTookTooLong", "", errors.Ambiguous, None),
    (503, "DeadlockDetected", "", errors.Ambiguous, None),
    (503, None, HTML, errors.Ambiguous, None),
    (504, None, "", errors.Ambiguous, None),
    (599, None, "", errors.Ambiguous, None),
    # A proxy that sends elsewhere has not passed the call on.
    (301, None, "", errors.BadAnswer, False),
    (302, None, HTML, errors.BadAnswer, False),
    (307, None, "", errors.BadAnswer, False),
    (308, None, "", errors.BadAnswer, False),
    (418, "SomethingNew", "a word that is not known yet", errors.Refused, False),
]


def refuse(status: int, code: str | None, message: str) -> httpx.Response:
    if code is None:
        return httpx.Response(status, text=message, headers={"Location": "http://elsewhere.test/"})
    body = {"message": message, "error_code": code, "details": {}}
    # Feldera says 401 as text around JSON.
    kind = "text/plain" if status == 401 else "application/json"
    return httpx.Response(status, content=json.dumps(body).encode(), headers={"Content-Type": kind})


async def call_every_method(client: FelderaClient) -> list[errors.FelderaError]:
    raised = []
    for call in (
        client.list_pipelines(),
        client.get_pipeline("orders"),
        client.get_program("orders"),
        client.diff("orders", program_code="", runtime_version=None),
        client.approve("orders", silent=False, concurrent=False),
        client.stop("orders"),
        client.request_checkpoint("orders"),
        client.checkpoint_status("orders", incarnation=None),
    ):
        with pytest.raises(errors.FelderaError) as caught:
            await call
        raised.append(caught.value)
    return raised


@pytest.mark.parametrize(("status", "code", "message", "kind", "applied"), REFUSALS, ids=lambda value: str(value)[:24])
async def test_a_refusal_is_the_right_error_for_every_call(
    client_of: Any, status: int, code: str | None, message: str, kind: type[errors.FelderaError], applied: bool | None
) -> None:
    for error in await call_every_method(client_of(lambda _: refuse(status, code, message))):
        assert type(error) is kind
        assert error.applied is applied
        assert (error.status, error.code) == (status, code)
        assert error.reason == kind.__name__
        assert "html" not in str(error) or len(str(error)) < 300


def test_the_table_has_every_error_that_feldera_may_give() -> None:
    """By the reference: codes of /approve, of checkpoints, and of the layers in front."""
    assert {code for _, code, _, _, _ in REFUSALS} >= {
        "InvalidBootstrapConfig",
        "InvalidParam",
        "AuthenticationFailed",
        "InsufficientPermissions",
        "UnknownPipelineName",
        "PipelineInteractionNotDeployed",
        "PipelineUnavailable",
        "PipelineInteractionUnreachable",
        "LockTookTooLong",
        "DeadlockDetected",
        "PipelineMissingDeploymentLocation",
        "PipelineInteractionInvalidResponse",
        "PostgresError",
        "PostgresPoolError",
        "EnterpriseFeature",
        "Initializing",
        "IncarnationUuidMismatch",
    }


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("5", 5.0),
        ("0", 0.0),
        ("86400", 300.0),
        ("9" * 5000, 300.0),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2126 12:00:00 GMT", 300.0),
        ("Mon, 99 Nov 2026 12:00:00 GMT", None),
        ("Mon, 23 Nov 99999999999 12:00:00 GMT", None),
        (", , , :::", None),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_retry_after_is_understood_in_both_forms_and_bounded(
    client_of: Any, value: str | None, seconds: float | None
) -> None:
    headers = {} if value is None else {"Retry-After": value.encode()}
    client = client_of(503, headers=headers, json={"error_code": "Initializing", "message": "wait"})
    for error in await call_every_method(client):
        assert error.retry_after == seconds


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(
    "body",
    [HTML, '{"checkpoint_sequence_number": 4', '"Bootstrap appro', "[" * 100_000, "[1]", "7", "true", "\x00", "NaN?"],
    ids=lambda body: body[:20],
)
async def test_a_success_that_says_something_else_may_have_been_carried_out(
    client_of: Any, status: int, body: str
) -> None:
    client = client_of(status, content=body.encode())
    for call in (
        client.approve("orders", silent=True, concurrent=False),
        client.stop("orders"),
        client.request_checkpoint("orders"),
    ):
        with pytest.raises(errors.Ambiguous) as caught:
            await call
        assert caught.value.applied is None
        assert caught.value.retry_after is None


@pytest.mark.parametrize(
    "body",
    [b"", HTML.encode(), b'{"id": "x"', b"null", b"[null]", b'"text"', b"[" * 100_000, b"\xff\xfe\x00", b"3", b"{}"],
    ids=lambda body: repr(body[:20]),
)
async def test_a_read_that_says_something_else_changed_nothing(client_of: Any, body: bytes) -> None:
    client = client_of(200, content=body)
    for call in (client.get_pipeline("orders"), client.get_program("orders")):
        with pytest.raises(errors.BadAnswer) as caught:
            await call
        assert caught.value.applied is False
        assert "is this the url of a Feldera API server?" in str(caught.value)


async def test_what_is_missing_is_said(client_of: Any) -> None:
    """403 names the role that is needed, 401 what to check: the key, or that there is none."""
    client = client_of(403, json={"error_code": "InsufficientPermissions", "message": "no"})
    with pytest.raises(errors.Forbidden, match="approving needs the role write"):
        await client.approve("orders", silent=False, concurrent=False)
    with pytest.raises(errors.Unauthorized, match="does not accept the key or token"):
        await client_of(401).list_pipelines()


async def test_messages_are_the_same_for_the_same_failure(client_of: Any) -> None:
    """What changes with every answer would be written into every status with every poll."""
    texts = [
        "Failed to connect to http://10.0.{}.7:8080/v0 after {}.5 s",
        "pipeline 0198c0de-000{}-7000-8000-00000000000{} failed at 2026-11-23T12:00:0{}.123Z",
        "[fe80::{}]:8080 did not answer within {} seconds",
        "thread 0x7f{}1 panicked, waited {}ms",
    ]
    for text in texts:
        messages = set()
        for number in "123":
            message = text.format(number, number, number)
            client = client_of(500, json={"error_code": "PostgresError", "message": message})
            with pytest.raises(errors.Ambiguous) as caught:
                await client.list_pipelines()
            messages.add(str(caught.value))
        [message] = messages
        assert not any(part in message for part in ("10.0.", "8080", "0198c0de", "fe80", "0x7f", "12:00"))


async def test_a_message_is_one_bounded_line_whatever_the_server_says(client_of: Any) -> None:
    text = "no\r\n\x1b[31mred\x00 \ud800" + "x" * 100_000
    client = client_of(400, content=json.dumps({"error_code": "Bad\nCode", "message": text}).encode())
    with pytest.raises(errors.Refused) as caught:
        await client.list_pipelines()
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) <= errors.MESSAGE_LENGTH
    assert message.startswith("Feldera answers 400 Bad Code: no [31mred xxx")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"text": HTML}, f"'{HTML}'"),
        ({"text": ""}, "''"),
        ({"json": {"message": "", "error_code": "PostgresError"}}, """'{"message":"","error_code":"PostgresError"}'"""),
        ({"json": {"message": 3}}, """'{"message":3}'"""),
    ],
    ids=["a page", "nothing", "an empty message", "no text"],
)
async def test_an_error_without_a_message_shows_how_its_body_begins(client_of: Any, body: Any, told: str) -> None:
    with pytest.raises(errors.Ambiguous) as caught:
        await client_of(502, **body).list_pipelines()
    assert str(caught.value).removeprefix("Feldera answers 502").removeprefix(" PostgresError") == f": {told}"
