"""The two seams of the product: its HTTP client gets this transport, its Kubernetes client this exchange.

Both hand calls to a network of the simulation, and turn what comes back into what the real libraries would raise.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import httpx

from pipeline_approver.kube.api import KubeApi
from simulation.loop import Process, SimLoop
from simulation.network import Answer, Broken, Call, Network, Timeouts

KUBERNETES_TIMEOUTS = Timeouts(connect=10.0, read=15.0)

Pieces = list[tuple[float, bytes | None]]
OnCall = Callable[[Call], None]


class FelderaTransport(httpx.AsyncBaseTransport):
    """Carries the requests of one operator to the simulated Feldera."""

    def __init__(self, loop: SimLoop, process: Process, operator: Any, network: Network, on_send: OnCall) -> None:
        self._loop = loop
        self._process = process
        self._operator = operator
        self._network = network
        self._on_send = on_send

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._process.dead:
            raise asyncio.CancelledError
        call = Call(
            operator=self._operator,
            process=self._process,
            method=request.method,
            path=request.url.path,
            query=dict(request.url.params),
            body=None,
            token=request.headers.get("Authorization", "").removeprefix("Bearer "),
            sent_at=self._loop.now,
        )
        self._on_send(call)
        limits = request.extensions["timeout"]
        future = self._loop.create_future()
        self._network.carry(call, Timeouts(limits["connect"], limits["read"]), future)
        try:
            answer, pieces = await future
        except Broken as why:
            raise _translate(str(why), request) from None
        finally:
            call.closed_at = self._loop.now
        if len(pieces) == 1:
            return httpx.Response(answer.status, headers=answer.headers, content=answer.body)
        call.closed_at, call.heard = None, False
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(self._loop, call, pieces))


class _Body(httpx.AsyncByteStream):
    """A body that comes in pieces, perhaps not to its end."""

    def __init__(self, loop: SimLoop, call: Call, pieces: Pieces) -> None:
        self._loop = loop
        self._call = call
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for pause, piece in self._pieces:
            await asyncio.sleep(pause)
            if piece is None:
                raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
            yield piece
        self._call.heard = True

    async def aclose(self) -> None:
        self._call.closed_at = self._loop.now


def _translate(why: str, request: httpx.Request) -> httpx.HTTPError:
    match why:
        case "refused":
            return httpx.ConnectError("All connection attempts failed", request=request)
        case "no connection":
            return httpx.ConnectTimeout("", request=request)
        case "no answer":
            return httpx.ReadTimeout("", request=request)
        case _:
            return httpx.ReadError("", request=request)


class SimKubeApi(KubeApi):
    """The product's client of the Kubernetes API over the simulation's network."""

    def __init__(self, loop: SimLoop, process: Process, operator: Any, network: Network) -> None:
        # Without the real client underneath; there is nothing to configure or to close.
        self._loop = loop
        self._process = process
        self._operator = operator
        self._network = network

    async def aclose(self) -> None:
        """Nothing is open."""

    async def _exchange(
        self, method: str, url: str, body: Any, content_type: str, accept: str
    ) -> tuple[int, bytes | str, Mapping[str, str]]:
        if self._process.dead:
            raise asyncio.CancelledError
        parts = urlsplit(url)
        call = Call(
            operator=self._operator,
            process=self._process,
            method=method,
            path=parts.path,
            query=dict(parse_qsl(parts.query)),
            body=json.loads(json.dumps(body)),
            token="",
            sent_at=self._loop.now,
        )
        future = self._loop.create_future()
        self._network.carry(call, KUBERNETES_TIMEOUTS, future)
        try:
            answer, pieces = await future
        except Broken as why:
            if str(why) in ("no answer", "no connection"):
                raise TimeoutError from None
            if str(why) == "refused":
                raise aiohttp.ClientConnectionError from None
            raise ConnectionResetError from None
        finally:
            call.closed_at = self._loop.now
        if pieces[-1][1] is None:
            raise aiohttp.ClientPayloadError
        assert isinstance(answer, Answer)
        return answer.status, answer.body, answer.headers
