"""Networks that fail, and servers that speak something else, as bytes on a socket."""

import asyncio
import datetime
import gzip
import socket
import ssl
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trustme

from pipeline_approver.feldera import errors
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import Connection

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
EMPTY_LIST = OK + b"Content-Length: 2\r\n\r\n[]"
PATIENCE = 60.0
"""A safety net for calls that must end by themselves."""


@pytest.fixture
async def connect() -> AsyncIterator[Any]:
    opened: list[FelderaClient] = []

    def open_client(url: str, *, ca: str | None = None, timeout: float = 5.0) -> FelderaClient:
        connection = Connection(url=url, ca_pem=ca)
        opened.append(FelderaClient(connection, timeout_seconds=timeout, approve_timeout_seconds=timeout))
        return opened[-1]

    yield open_client
    for client in opened:
        await client.aclose()


async def fail(client: FelderaClient) -> tuple[errors.FelderaError, errors.FelderaError]:
    """How a read and an approval fail."""
    with pytest.raises(errors.FelderaError) as read:
        await asyncio.wait_for(client.list_pipelines(), PATIENCE)
    with pytest.raises(errors.FelderaError) as act:
        await asyncio.wait_for(client.approve("orders", silent=False, concurrent=False), PATIENCE)
    return read.value, act.value


async def test_a_refused_connection_sent_nothing(connect: Any) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for error in await fail(connect(f"http://127.0.0.1:{nobody.getsockname()[1]}")):
            assert type(error) is errors.NotReached
            assert (error.reason, error.applied) == ("ConnectionRefused", False)
            assert "is Feldera running" in str(error)
            assert "127.0.0.1" not in str(error)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a.b.c.invalid"])
async def test_a_host_that_nobody_knows_sent_nothing(connect: Any, host: str) -> None:
    for error in await fail(connect(f"http://{host}:8080")):
        assert type(error) is errors.NotReached
        assert (error.reason, error.applied) == ("DNSFailed", False)
        assert host not in str(error)


async def test_a_host_that_takes_no_connection_in_time_was_sent_nothing(connect: Any) -> None:
    """A full backlog: the handshake of TCP never ends."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        try:
            for error in await fail(connect(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=0.4)):
                assert type(error) is errors.NotReached
                assert (error.reason, error.applied) == ("ConnectTimeout", False)
        finally:
            for filler in fillers:
                filler.close()


async def test_a_server_that_never_answers_may_have_carried_it_out(connect: Any, listen: Any) -> None:
    async def stall(reader: Any, writer: Any) -> None:
        await reader.read()

    for error in await fail(connect(await listen(stall), timeout=0.2)):
        assert type(error) is errors.Ambiguous
        assert (error.reason, error.applied) == ("TimedOut", None)


@pytest.mark.parametrize("start", [b"", OK, OK + b"Content-Length: 1000000\r\n\r\n["], ids=["head", "headers", "body"])
async def test_a_server_that_trickles_for_ever_does_not_hold_a_call_for_ever(
    connect: Any, listen: Any, start: bytes
) -> None:
    """A call counts as over after a while: it must be over by then, whatever still comes."""

    async def trickle(reader: Any, writer: Any) -> None:
        writer.write(start or b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while True:
            writer.write(b" " if start.endswith(b"[") else b"a" if not start else b"X-Slow: a\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)

    for error in await fail(connect(await listen(trickle), timeout=0.2)):
        assert type(error) is errors.Ambiguous
        assert (error.reason, error.applied) == ("TimedOut", None)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200",
        OK,
        OK + b"Content-Length: 100\r\n\r\n[",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Content-Length: ten\r\n\r\n[]",
        OK + b"Content-Length: -1\r\n\r\n[]",
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
        OK + b"X: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\x00" * 100,
    ],
    ids=lambda said: repr(said[-40:])[:60],
)
async def test_a_connection_that_breaks_may_have_carried_it_out(connect: Any, listen: Any, said: bytes) -> None:
    for error in await fail(connect(await listen(said))):
        assert (type(error), error.applied, error.reason) == (errors.Ambiguous, None, "ConnectionBroken")


async def test_a_port_that_does_not_speak_http_is_said_to_be_one(connect: Any, listen: Any) -> None:
    error, _ = await fail(connect(await listen(b"\x15\x03\x01\x00\x02\x02\x46")))
    assert "does the url have to begin with https" in str(error)


async def test_a_reset_connection_may_have_carried_it_out(connect: Any, listen: Any) -> None:
    async def reset(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: 100\r\n\r\n[")
        await writer.drain()
        writer.transport.abort()

    for error in await fail(connect(await listen(reset))):
        assert (type(error), error.reason) == (errors.Ambiguous, "ConnectionBroken")


def compressed(body: bytes, encoding: str = "gzip") -> bytes:
    head = OK + f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return head + body


async def test_a_compressed_answer_is_read(connect: Any, listen: Any) -> None:
    client = connect(await listen(compressed(gzip.compress(b"[]"))))
    assert (await client.list_pipelines()).views == {}


async def test_a_decompression_bomb_meets_the_limit(connect: Any, listen: Any) -> None:
    packer = zlib.compressobj(9, wbits=31)
    start, mebibyte = (packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH) for part in (b"[", b" " * 2**20))
    bomb = start + 4096 * mebibyte
    read, act = await fail(connect(await listen(compressed(bomb))))
    assert type(read) is errors.Unreadable
    assert type(act) is errors.Ambiguous
    assert "larger than 64 MiB" in str(read)


@pytest.mark.parametrize("encoding", ["gzip, gzip", "gzip,gzip,gzip", "br", "zstd", "deflate", "x", "identity, gzip"])
async def test_layers_of_compression_are_not_unpacked(connect: Any, listen: Any, encoding: str) -> None:
    """64 KiB in two layers of gzip unpack to 64 GiB."""
    body = gzip.compress(gzip.compress(b"[]"))
    read, act = await fail(connect(await listen(compressed(body, encoding))))
    assert (type(read), read.applied) == (errors.BadAnswer, False)
    assert (type(act), act.applied) == (errors.Ambiguous, None)
    assert "not asked for" in str(read)


async def test_an_answer_that_cannot_be_unpacked_is_not_felderas(connect: Any, listen: Any) -> None:
    read, act = await fail(connect(await listen(compressed(b"not gzip"))))
    assert (type(read), type(act)) == (errors.BadAnswer, errors.Ambiguous)
    assert "cannot be decompressed" in str(read)


class Authority:
    """A private CA and a server certificate from it."""

    def __init__(self, *hosts: str, **options: Any) -> None:
        ca = trustme.CA()
        self.pem = ca.cert_pem.bytes().decode()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*hosts, **options).configure_cert(self.context)


async def test_a_private_ca_is_trusted_where_it_is_given(connect: Any, listen: Any) -> None:
    authority = Authority("127.0.0.1", "localhost")
    for host in ("127.0.0.1", "localhost"):
        url = await listen(EMPTY_LIST, context=authority.context, host=host)
        assert (await connect(url, ca=authority.pem).list_pipelines()).views == {}


@pytest.mark.parametrize("other", [None, Authority("localhost").pem], ids=["the system's", "another"])
async def test_a_private_ca_is_not_trusted_where_it_is_not_given(connect: Any, listen: Any, other: str | None) -> None:
    url = await listen(EMPTY_LIST, context=Authority("127.0.0.1").context)
    for error in await fail(connect(url, ca=other)):
        assert (type(error), error.reason, error.applied) == (errors.NotReached, "TLSFailed", False)
        assert "a private CA goes into ca.crt" in str(error)


async def test_a_certificate_for_another_host_is_refused(connect: Any, listen: Any) -> None:
    authority = Authority("feldera.example")
    url = await listen(EMPTY_LIST, context=authority.context)
    for error in await fail(connect(url, ca=authority.pem)):
        assert (type(error), error.reason, error.applied) == (errors.NotReached, "TLSFailed", False)
        assert "mismatch" in str(error)
        assert "ca.crt" not in str(error)
        assert "127.0.0.1" not in str(error)


async def test_an_expired_certificate_is_refused(connect: Any, listen: Any) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    authority = Authority("127.0.0.1", not_before=past, not_after=past + datetime.timedelta(days=1))
    url = await listen(EMPTY_LIST, context=authority.context)
    for error in await fail(connect(url, ca=authority.pem)):
        assert (type(error), error.reason, error.applied) == (errors.NotReached, "TLSFailed", False)
        assert "certificate has expired; the certificate of the server has to be corrected" in str(error)


async def test_https_to_a_port_without_tls_sent_nothing(connect: Any, listen: Any) -> None:
    async def refuse(reader: Any, writer: Any) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    url = (await listen(refuse)).replace("http:", "https:")
    for error in await fail(connect(url)):
        assert (type(error), error.reason, error.applied) == (errors.NotReached, "TLSFailed", False)
        assert "does the port speak TLS, or has the url to begin with http://?" in str(error)


async def test_http_to_a_port_with_tls_says_so(connect: Any, listen: Any) -> None:
    url = (await listen(EMPTY_LIST, context=Authority("127.0.0.1").context)).replace("https:", "http:")
    for error in await fail(connect(url)):
        assert (type(error), error.reason) == (errors.Ambiguous, "ConnectionBroken")


async def test_a_cut_tls_connection_may_have_carried_it_out(connect: Any, listen: Any) -> None:
    authority = Authority("127.0.0.1")

    async def cut(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: 100\r\n\r\n[")
        await writer.drain()
        writer.transport.abort()

    url = await listen(cut, context=authority.context)
    for error in await fail(connect(url, ca=authority.pem)):
        assert (type(error), error.applied) == (errors.Ambiguous, None)
        assert str(error) == "the connection broke"
