"""What the client sends, and what it never does: to follow, to guess, to ask the environment."""

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline_approver.feldera import errors
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import Connection, Secret
from support.feldera import KEY, build_row

ODD_NAMES = [
    "orders",
    "Orders_2-EU",
    "..",
    ".",
    "a/b",
    "../../v0/pipelines/other/stop",
    "a b",
    "a%2Fb",
    "%2e%2e",
    "a?selector=all",
    "a#b",
    "a;b",
    "a&silent_bootstrap=true",
    "é",
    "🍝",
    "a\\b",
    "a\nb",
    "a\x00b",
    "x" * 500,
]


class Recorder:
    """Remembers requests, and answers them with a row."""

    def __init__(self) -> None:
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        name = request.url.path.partition("/pipelines/")[2]
        number = {"checkpoint_sequence_number": 1, "success": 1, "failure": None}
        body: Any = (
            number if request.method == "POST" or "checkpoint" in name else build_row(name=name, program_code="")
        )
        return httpx.Response(200, content=json.dumps(body if "pipelines/" in request.url.path else []).encode())


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: repr(name)[:30])
async def test_no_name_leaves_its_place_in_the_path(client_of: Any, name: str) -> None:
    recorder = Recorder()
    client = client_of(recorder)
    await client.approve(name, silent=False, concurrent=True)
    await client.stop(name)
    await client.request_checkpoint(name)
    await client.checkpoint_status(name, incarnation=None)
    assert (await client.get_pipeline(name)).name == name
    assert (await client.get_program(name))[0].name == name
    for request, action in zip(recorder.seen, ("/approve", "/stop", "/checkpoint", "/checkpoint_status"), strict=False):
        raw, _, _ = request.url.raw_path.partition(b"?")
        prefix, quoted, *rest = raw.decode("ascii").removeprefix("/v0/").split("/")
        assert (prefix, rest) == ("pipelines", [action.removeprefix("/")])
        assert not set(quoted) & set(".?#;&/\\ ")
        assert httpx.URL(f"http://x/{quoted}").path == f"/{name}"


async def test_a_name_too_long_for_any_url_is_refused_before_it_is_sent(client_of: Any) -> None:
    recorder = Recorder()
    with pytest.raises(errors.NotReached) as caught:
        await client_of(recorder).approve("x" * 70_000, silent=False, concurrent=False)
    assert caught.value.reason == "UrlInvalid"
    assert recorder.seen == []


@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.parametrize("concurrent", [True, False])
async def test_flags_are_sent_in_full(client_of: Any, silent: bool, concurrent: bool) -> None:
    """Feldera takes a missing flag for false, whatever the pipeline was started with."""
    recorder = Recorder()
    await client_of(recorder).approve("orders", silent=silent, concurrent=concurrent)
    [request] = recorder.seen
    assert dict(request.url.params) == {
        "silent_bootstrap": str(silent).lower(),
        "concurrent_bootstrap": str(concurrent).lower(),
    }
    assert request.method == "POST"
    assert request.read() == b""


async def test_every_read_asks_for_no_more_than_it_needs(client_of: Any) -> None:
    recorder = Recorder()
    client = client_of(recorder)
    await client.list_pipelines()
    await client.get_pipeline("orders")
    await client.get_program("orders")
    await client.checkpoint_status("orders", incarnation="i")
    assert [(request.method, request.url.path, dict(request.url.params)) for request in recorder.seen] == [
        ("GET", "/v0/pipelines", {"selector": "status"}),
        ("GET", "/v0/pipelines/orders", {"selector": "status"}),
        ("GET", "/v0/pipelines/orders", {"selector": "all"}),
        ("GET", "/v0/pipelines/orders/checkpoint_status", {"incarnation_uuid": "i"}),
    ]
    for request in recorder.seen:
        assert request.headers["Authorization"] == f"Bearer {KEY}"
        assert request.headers["Accept"] == "application/json"
        assert request.headers["Accept-Encoding"] == "gzip"
        assert request.headers["User-Agent"] == "pipeline-approver"


async def test_a_url_may_have_a_path(client_of: Any) -> None:
    recorder = Recorder()
    client = client_of(recorder, connection=Connection(url="http://gateway.test/feldera"))
    await client.get_pipeline("orders")
    assert recorder.seen[0].url.path == "/feldera/v0/pipelines/orders"
    assert "Authorization" not in recorder.seen[0].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["http://evil.test/v0/pipelines", "/elsewhere", "http://[", "::", "", "\\\\x"])
async def test_a_redirect_is_not_followed(client_of: Any, status: int, location: str) -> None:
    """A key goes to the configured url and nowhere else."""
    seen: list[str] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.host)
        return httpx.Response(status, headers={"Location": location})

    client = client_of(redirect)
    with pytest.raises(errors.FelderaError):
        await client.list_pipelines()
    with pytest.raises(errors.FelderaError):
        await client.approve("orders", silent=False, concurrent=False)
    assert seen == ["feldera.test", "feldera.test"]


async def test_proxies_and_netrc_of_the_environment_are_not_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listen: Any
) -> None:
    asked: list[bytes] = []

    async def proxy(reader: Any, writer: Any) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
        await writer.drain()

    url = await listen(proxy)
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(variable, url)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login u password p\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        client = FelderaClient(Connection(url=f"http://127.0.0.1:{nobody.getsockname()[1]}"))
        with pytest.raises(errors.NotReached):
            await client.list_pipelines()
        await client.aclose()
    assert asked == []
    client = FelderaClient(Connection(url=url))
    await client.list_pipelines()
    await client.aclose()
    [request] = asked
    assert b"GET /v0/pipelines?selector=status" in request
    assert b"uthorization" not in request


async def test_a_token_file_is_read_anew_for_every_request(client_of: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    recorder = Recorder()
    client = client_of(recorder, connection=Connection(url="http://feldera.test", token_file=file))
    for token in ("first.token", "second.token\n", "  third.token \r\n"):
        file.write_text(token)
        await client.list_pipelines()
    sent = [request.headers["Authorization"] for request in recorder.seen]
    assert sent == ["Bearer first.token", "Bearer second.token", "Bearer third.token"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.unlink(),
        lambda file: file.write_text(""),
        lambda file: file.write_text("\n"),
        lambda file: file.write_text("two words"),
        lambda file: file.write_text("two\nlines"),
        lambda file: file.write_text("tökén"),
        lambda file: file.write_bytes(b"\xff\xfe"),
        lambda file: (file.unlink(), file.mkdir()),
    ],
    ids=["missing", "empty", "blank", "two words", "two lines", "not ascii", "not text", "a directory"],
)
async def test_without_a_usable_token_nothing_is_sent(client_of: Any, tmp_path: Path, spoil: Any) -> None:
    file = tmp_path / "token"
    file.write_text("token")
    recorder = Recorder()
    client = client_of(recorder, connection=Connection(url="http://feldera.test", token_file=file))
    spoil(file)
    with pytest.raises(errors.Unauthorized, match="FELDERA_TOKEN_FILE") as caught:
        await client.approve("orders", silent=False, concurrent=False)
    assert (caught.value.applied, caught.value.reason) == (False, "TokenFileUnreadable")
    assert recorder.seen == []


async def test_a_token_that_was_refused_may_heal(client_of: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")

    def answer(request: httpx.Request) -> httpx.Response:
        fresh = request.headers["Authorization"] == "Bearer new"
        return httpx.Response(200 if fresh else 401, json=[])

    client = client_of(answer, connection=Connection(url="http://feldera.test", token_file=file))
    with pytest.raises(errors.Unauthorized):
        await client.list_pipelines()
    file.write_text("new")
    assert (await client.list_pipelines()).views == {}


async def test_where_no_key_is_configured_the_message_says_so(client_of: Any) -> None:
    client = client_of(401, connection=Connection(url="http://feldera.test"))
    with pytest.raises(errors.Unauthorized, match=r"none is configured.*set api-key"):
        await client.list_pipelines()
    client = client_of(401, connection=Connection(url="http://feldera.test", api_key=Secret("x")))
    with pytest.raises(errors.Unauthorized, match="does not accept"):
        await client.list_pipelines()


@pytest.mark.parametrize("cookie", [b"a=b; Path=/", b"\x80", b"a=\xff", b"=", b"a=" + b"x" * 10_000])
async def test_cookies_are_not_kept(client_of: Any, cookie: bytes) -> None:
    """One that no header takes would make every later request fail, and many of them would fill the memory."""
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200, content=b"[]", headers={"Set-Cookie": cookie})

    client = client_of(answer)
    for _ in range(2):
        await client.list_pipelines()
    assert [headers.get("Cookie") for headers in seen] == [None, None]
