"""A client that gets exactly the answers a test wants, and servers that speak bytes."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import Connection, Secret
from support.feldera import KEY, NOW

Handler = Callable[[httpx.Request], httpx.Response]
Open = Callable[..., FelderaClient]


@pytest.fixture
async def client_of() -> AsyncIterator[Open]:
    """Clients with a transport of the test's own; `client_of(200, json=…)` answers everything alike."""
    opened: list[FelderaClient] = []

    def open_client(answer: Handler | int, *, connection: Connection | None = None, **body: Any) -> FelderaClient:
        def same(_: httpx.Request) -> httpx.Response:
            assert isinstance(answer, int)
            return httpx.Response(answer, **body)

        handler = same if isinstance(answer, int) else answer
        connection = connection or Connection(url="http://feldera.test", api_key=Secret(KEY))
        opened.append(FelderaClient(connection, transport=httpx.MockTransport(handler), now=lambda: NOW))
        return opened[-1]

    yield open_client
    for client in opened:
        await client.aclose()


Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def listen() -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Servers on loopback that say whatever a test wants; the answer is their url."""
    servers: list[asyncio.Server] = []
    talks: set[asyncio.Task[None]] = set()

    async def start(speak: Speak | bytes, *, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            talks.add(task)
            try:
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                    if isinstance(speak, bytes):
                        await reader.readuntil(b"\r\n\r\n")
                        writer.write(speak)
                        await writer.drain()
                    else:
                        await speak(reader, writer)
            finally:
                talks.discard(task)
                writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        return f"http{'s' if context else ''}://{host}:{server.sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()
    for task in list(talks):
        task.cancel()
    await asyncio.gather(*talks, return_exceptions=True)
