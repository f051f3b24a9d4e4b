"""No secret in any exception, log line or value, whatever fails, and also when a server echoes what it was sent."""

import asyncio
import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline_approver import logs
from pipeline_approver.feldera import errors
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import Connection, ConnectionInvalid, Secret, connection_from_secret
from support.feldera import KEY, PRIVATE, build_row, build_secret

TOKENS = st.text("abcXYZ0189._~+/=:-", min_size=16, max_size=200).filter(lambda token: len(set(token)) > 3)
STATUSES = st.sampled_from([200, 202, 204, 302, 400, 401, 403, 404, 408, 429, 500, 501, 502, 503])
ECHOES = st.sampled_from(
    [
        "invalid header Authorization: Bearer {}",
        "{}",
        "'{}'",
        "a {} b {}",
        "x" * 70 + "{}",
        "x" * 490 + " {}",
        "x" * 1990 + " {}",
        " " * 150 + "{}",
        "http://u:{}@feldera.test/{}",
    ]
)


def place(kind: str, text: str) -> bytes:
    """A body that has the text somewhere."""
    row = build_row(
        program_code=text,
        deployment_error={"error_code": text, "message": text},
        deployment_status=text,
        deployment_desired_status=text,
        platform_version=text,
    )
    waiting = build_row(program_code="", deployment_runtime_status_details={"program_diff": {text: [text]}, "e": text})
    bodies: dict[str, Any] = {
        "error": {"message": text, "error_code": "SomeError", "details": {"headers": [text]}},
        "code": {"message": "no", "error_code": text},
        "row": row,
        "waiting": waiting,
        "rows": [row, waiting, text],
        "checkpoint": {"success": 1, "failure": {"sequence_number": 2, "error": text}, "incarnation_uuid": text},
        "number": {"checkpoint_sequence_number": 1, "incarnation_uuid": text},
        "string": text,
        "strings": [text],
    }
    return json.dumps(bodies[kind]).encode() if kind in bodies else f"<html>{text}".encode()


KINDS = st.sampled_from(
    ["error", "code", "row", "waiting", "rows", "checkpoint", "number", "string", "strings", "html"]
)


class Log(logging.Handler):
    """Everything that anybody logs, as it would be printed."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += logs.TextFormatter().format(record) + logs.JsonFormatter().format(record)


@pytest.fixture(scope="module")
def log() -> Iterator[Log]:
    handler = Log()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


async def show_everything(client: FelderaClient) -> str:
    """What can be seen of all calls: errors with their tracebacks, and values."""
    shown = []
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
        try:
            shown.append(repr(await call))
        except errors.FelderaError as error:
            logging.getLogger("pipeline_approver").exception("a call failed: %s", error)
            shown += [str(error), repr(error), repr(error.args), repr(vars(error)), f"{error.code} {error.reason}"]
            shown += traceback.format_exception(error)
    await client.aclose()
    return "\n".join(shown)


def look(client: FelderaClient, log: Log) -> str:
    log.text = ""
    return asyncio.run(show_everything(client)) + log.text


@given(token=TOKENS, status=STATUSES, kind=KINDS, echo=ECHOES, cut=st.integers(0, 4000) | st.none())
@example(token=KEY, status=500, kind="error", echo="invalid header Authorization: Bearer {}", cut=None)
@example(token=KEY, status=200, kind="rows", echo="{}", cut=None)
def test_a_server_that_echoes_the_token_spreads_it_no_further(
    log: Log, token: str, status: int, kind: str, echo: str, cut: int | None
) -> None:
    body = place(kind, echo.replace("{}", token))[:cut]
    headers = {"Location": f"/{token}", "WWW-Authenticate": token, "Retry-After": token, "Set-Cookie": f"a={token}"}
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body, headers=headers))
    client = FelderaClient(Connection(url="http://feldera.test", api_key=Secret(token)), transport=transport)
    seen = look(client, log)
    assert token not in seen
    assert token[:24] not in seen


@given(token=TOKENS, length=st.integers(24, 200))
def test_a_token_that_the_server_has_cut_is_known_by_its_beginning(log: Log, token: str, length: int) -> None:
    body = place("error", f"header too long: Bearer {token[:length]}…")
    transport = httpx.MockTransport(lambda _: httpx.Response(431, content=body))
    client = FelderaClient(Connection(url="http://feldera.test", api_key=Secret(token)), transport=transport)
    assert token[:24] not in look(client, log)


FAILURES: list[type[Exception]] = [
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.ReadError,
    httpx.ReadTimeout,
    httpx.WriteError,
    httpx.CloseError,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.RemoteProtocolError,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
    httpx.DecodingError,
    httpx.TooManyRedirects,
    httpx.InvalidURL,
]


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.__name__)
def test_a_library_that_echoes_the_token_spreads_it_no_further(log: Log, kind: type[Exception]) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise kind(f"illegal header value b'Bearer {KEY}' for http://u:{KEY}@feldera.test")

    client = FelderaClient(
        Connection(url="http://feldera.test", api_key=Secret(KEY)), transport=httpx.MockTransport(fail)
    )
    assert KEY not in look(client, log)


def test_a_token_file_that_cannot_be_used_does_not_show_what_is_in_it(log: Log, tmp_path: Path) -> None:
    file = tmp_path / "token"
    for content in (f"{KEY} {KEY}", f"{KEY}\x00", f"é{KEY}"):
        file.write_text(content)
        assert KEY not in look(FelderaClient(Connection(url="http://feldera.test", token_file=file)), log)


@given(
    secret=TOKENS,
    url=st.sampled_from(
        ["http://u:{}@h", "http://{}@h", "http://h:{}", "http://h?k={}", "http://h#{}", "{}", "//{}", "{}://h"]
    ),
    key=st.sampled_from(["{}", "{} {}", "Bearer {}", "{}é", "{}\n{}"]),
    ca=st.sampled_from(["{}", "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----", "{}é", None]),
    spoilt=st.sampled_from(["url", "api-key", "ca.crt", None]),
)
def test_a_secret_that_cannot_be_used_does_not_show_what_is_in_it(
    secret: str, url: str, key: str, ca: str | None, spoilt: str | None
) -> None:
    values = {"url": url.replace("{}", secret), "api_key": key.replace("{}", secret)}
    manifest = build_secret(**values, **({} if ca is None else {"ca": ca.replace("{}", secret) + PRIVATE}))
    if spoilt in manifest["data"]:
        manifest["data"][spoilt] = secret + "!"
    try:
        connection = connection_from_secret(manifest)
    except ConnectionInvalid as error:
        seen = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
        assert secret not in seen
    else:
        # Only a url may be shown: it is where the key goes, and no secret itself.
        seen = repr(connection).replace(repr(connection.url), "")
        assert secret not in seen
    assert PRIVATE.splitlines()[1] not in seen
