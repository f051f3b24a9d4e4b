"""A gate in front of a real API server: requests pass it one by one, and can be held or spoilt there.

It matches as the simulated server does, by verb and resource, so that the same tests hold the same requests on both.
"""

import asyncio
import ssl
from collections.abc import Mapping

import aiohttp
from aiohttp import web

from pipeline_approver.sandbox.faults import Fault, FaultPlan, Hold, Match
from pipeline_approver.sandbox.real import RealServer

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_NOT_FORWARDED = {"host", "connection", "content-length", "content-encoding", "transfer-encoding", "keep-alive"}


class Gate:
    """Plain HTTP on loopback; credentials pass through."""

    def __init__(self, server: RealServer) -> None:
        self.faults = FaultPlan(_refuse)
        self._server = server
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._watches: set[asyncio.Transport] = set()
        self._running: set[asyncio.Task[web.StreamResponse]] = set()
        self._context = ssl.create_default_context()
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        connector = aiohttp.TCPConnector(ssl=self._context, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        # A client that goes away takes its requests with it, as it does at an API server.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self.faults.clear()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def hold(self, match: Match, *, where: str = "before", name: str | None = None) -> Hold:
        """Stop matching requests `before` or `after` they are applied."""
        return self.faults.hold(match, where=where, name=name)

    def cut_watches(self) -> None:
        """Cut the connection of every watch."""
        for transport in list(self._watches):
            transport.abort()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        verb, resource, name = _describe(request)
        if verb == "watch":
            return await self.faults.serve(request, (verb, resource), name, self._forward)
        # What has arrived is carried out, also when its client does not wait for the answer.
        task = asyncio.ensure_future(self.faults.serve(request, (verb, resource), name, self._forward))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        url = f"{self._server.url}{request.raw_path}"
        body = await request.read()
        try:
            async with self._session.request(
                request.method, url, data=body or None, headers=_pass_on(request.headers), allow_redirects=False
            ) as answer:
                if "watch" in request.query:
                    return await self._stream(request, answer)
                return web.Response(body=await answer.read(), status=answer.status, headers=_pass_on(answer.headers))
        except aiohttp.ClientError:
            # The API server is gone: so is this connection.
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=_pass_on(answer.headers))
        transport = request.transport
        if transport is None:
            return response
        self._watches.add(transport)
        try:
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
        finally:
            self._watches.discard(transport)
        return response


def _describe(request: web.Request) -> tuple[str, str, str | None]:
    """Verb, resource and name, for example `patch`, `pipelines/status`, `orders`."""
    parts = request.path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    resource, name = [*rest, ""][0], rest[1] if len(rest) > 1 else None
    if len(rest) > 2:
        resource += f"/{rest[2]}"
    verb = VERBS.get(request.method, request.method.lower())
    if request.method == "GET" and name is None:
        verb = "watch" if "watch" in request.query else "list"
    return verb, resource, name


def _pass_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in _NOT_FORWARDED}


def _refuse(fault: Fault) -> web.Response:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": fault.status, "message": fault.message}
    return web.json_response(body, status=fault.status, headers=headers)
