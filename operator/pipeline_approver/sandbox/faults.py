"""Things that go wrong on purpose, for both simulated servers: faults that spoil answers, holds that stop requests.

What a request is matched by, and how a refusal looks, is each server's own affair.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Match = tuple[str, str]
"""Two words that say what a request does, each of which may be `*` for all; which words is up to the server."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

KINDS = frozenset(
    {
        "status",
        "hang",
        "drop",
        "drop_mid_body",
        "truncate",
        "html",
        "applied_then_status",
        "applied_then_drop",
        "applied_then_hang",
        "nulls",
        "huge",
        "delay",
    }
)


@dataclass(slots=True, kw_only=True, eq=False)
class Fault:
    """One way to spoil matching requests.

    Not applied at all: `status`, `html`, `hang`, `drop`. Applied, then spoilt: `applied_then_*`, `drop_mid_body`
    (headers and half a body), `truncate` (half the JSON, well framed), `nulls` (every value null), `huge` (the
    answer, then spaces up to `size` bytes). `delay` only waits before.
    """

    match: Match
    kind: str
    times: int | None = 1
    """How many requests it still spoils; None: every one."""
    name: str | None = None
    """Only requests about the object with this name; None: all."""
    status: int = 503
    code: str | None = None
    """The error code or reason in the body; None: what the server would say with this status."""
    message: str | None = None
    retry_after: int | None = None
    """Seconds for a Retry-After header."""
    seconds: float | None = None
    """How long to delay, or to hang; None hangs until the client gives up."""
    size: int = 64 * 2**20
    hits: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Hold:
    """Stops every matching request before or after it is applied, until released."""

    match: Match
    where: str
    name: str | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the first request has arrived at the hold."""
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _cut: bool = False

    def release(self, *, cut: bool = False) -> None:
        """Let held requests go on. With `cut` their connections are cut instead, and they go no further."""
        self._cut = cut
        self._released.set()

    async def wait(self) -> bool:
        """Wait for the release; whether to go on."""
        self.reached.set()
        await self._released.wait()
        return not self._cut


class FaultPlan:
    """The faults and holds of one server, asked for every request."""

    def __init__(self, refuse: Callable[[Fault], web.Response]) -> None:
        self._refuse = refuse
        self.faults: list[Fault] = []
        self.holds: list[Hold] = []

    def add(self, match: Match, *, kind: str, **options: Any) -> Fault:
        """Spoil matching requests; the options are the fields of `Fault`. Raises ValueError for an unknown kind."""
        if kind not in KINDS:
            raise ValueError(f"unknown kind of fault: {kind}; known: {', '.join(sorted(KINDS))}")
        fault = Fault(match=(match[0], match[1]), kind=kind, **options)
        self.faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        with contextlib.suppress(ValueError):
            self.faults.remove(fault)

    def clear(self) -> None:
        """Remove all faults and release all holds."""
        self.faults.clear()
        for hold in self.holds:
            hold.release()
        self.holds.clear()

    def hold(self, match: Match, *, where: str = "before", name: str | None = None) -> Hold:
        """Stop matching requests `before` or `after` they are applied."""
        if where not in {"before", "after"}:
            raise ValueError("where must be 'before' or 'after'")
        hold = Hold(match=(match[0], match[1]), where=where, name=name)
        self.holds.append(hold)
        return hold

    async def serve(self, request: web.Request, what: Match, name: str | None, handler: Handler) -> web.StreamResponse:
        """Answer a request through all faults and holds that match it."""

        async def apply(request: web.Request) -> web.StreamResponse:
            if not await self._pass("before", what, name):
                return cut(request)
            response = await handler(request)
            return response if await self._pass("after", what, name) else cut(request)

        fault = self._take(what, name) if self.faults else None
        return await apply(request) if fault is None else await self._carry_out(fault, request, apply)

    def _take(self, what: Match, name: str | None) -> Fault | None:
        """The fault for this request, used up by one."""
        for fault in self.faults:
            if _matches(fault.match, what) and fault.name in {None, name}:
                fault.hits += 1
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                return fault
        return None

    async def _pass(self, where: str, what: Match, name: str | None) -> bool:
        """Pass the holds at this point; False when the connection is to be cut."""
        for hold in list(self.holds):
            matches = hold.where == where and _matches(hold.match, what) and hold.name in {None, name}
            if matches and not await hold.wait():
                return False
        return True

    async def _carry_out(self, fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
        match fault.kind:
            case "status":
                return self._refuse(fault)
            case "html":
                return web.Response(
                    status=fault.status,
                    text="<html><head><title>Gateway</title></head><body>upstream gone</body></html>",
                    content_type="text/html",
                )
            case "hang":
                return await _hang(fault, request)
            case "drop":
                return cut(request)
            case "delay":
                await asyncio.sleep(fault.seconds or 0.0)
                return await handler(request)
        response = await handler(request)
        match fault.kind:
            case "applied_then_status":
                return self._refuse(fault)
            case "applied_then_drop":
                return cut(request)
            case "applied_then_hang":
                return await _hang(fault, request)
        body = _body(response)
        match fault.kind:
            case "nulls":
                return web.json_response(_nulls(json.loads(body)) if body else None, status=response.status)
            case "truncate":
                return _json(body[: len(body) // 2], response.status)
            case "huge":
                return _json(body + b" " * max(0, fault.size - len(body)), response.status)
            case _:
                return await _drop_mid_body(request, body)


def cut(request: web.Request) -> web.Response:
    """Cut the connection without another byte."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _matches(match: Match, what: Match) -> bool:
    return match[0] in {"*", what[0]} and match[1] in {"*", what[1]}


async def _hang(fault: Fault, request: web.Request) -> web.Response:
    loop = asyncio.get_running_loop()
    end = None if fault.seconds is None else loop.time() + fault.seconds
    while request.transport is not None and not request.transport.is_closing():
        if end is not None and loop.time() >= end:
            break
        await asyncio.sleep(0.02)
    return cut(request)


async def _drop_mid_body(request: web.Request, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    # A turn of the loop, so that the first half leaves before the connection goes.
    await asyncio.sleep(0)
    cut(request)
    return response


def _body(response: web.StreamResponse) -> bytes:
    body = response.body if isinstance(response, web.Response) else b""
    return body if isinstance(body, bytes) else b""


def _json(body: bytes, status: int) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")


def _nulls(value: Any) -> Any:
    """The same keys without values; a list of rows keeps its rows."""
    if isinstance(value, list):
        return [_nulls(item) for item in value]
    return dict.fromkeys(value) if isinstance(value, dict) else None
