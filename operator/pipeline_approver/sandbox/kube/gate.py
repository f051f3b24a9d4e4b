"""What every request passes: records, users, holds and faults on its way in; refusals on its way out."""

import asyncio
import collections
import time
from dataclasses import dataclass

from aiohttp import web

from pipeline_approver.sandbox.faults import Fault, FaultPlan
from pipeline_approver.sandbox.kube import access
from pipeline_approver.sandbox.kube.access import Allow
from pipeline_approver.sandbox.kube.calls import Call, read_call
from pipeline_approver.sandbox.kube.errors import REASONS, ApiError
from pipeline_approver.sandbox.kube.routes import Routes, find_manager
from pipeline_approver.sandbox.kube.store import dump

REMEMBERED_REQUESTS = 20_000


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """One request."""

    method: str
    path: str
    query: str
    verb: str
    resource: str
    """`pipelines` or `pipelines/status`; empty for what is no resource."""
    namespace: str | None
    name: str | None
    user: str
    manager: str
    """The field manager, as a write would record it."""
    at: float
    """Unix time in seconds at which it arrived."""
    status: int = 0
    """HTTP status of the answer; 0 while there is none, and when the connection was cut instead."""


class Gate:
    """The one handler of the server."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._running: set[asyncio.Task[web.StreamResponse]] = set()
        self.plan = FaultPlan(_refuse_by_fault)
        self.allow: Allow | None = None
        self.requests: collections.deque[RequestRecord] = collections.deque(maxlen=REMEMBERED_REQUESTS)
        self.counts: collections.Counter[tuple[str, str]] = collections.Counter()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        call = read_call(request)
        record = _record(request, call)
        self.requests.append(record)
        if call.plural:
            self.counts[(call.verb, call.resource)] += 1
        if call.verb == "watch":
            return await self._answer(request, call, record)
        try:
            await request.read()
        except web.HTTPRequestEntityTooLarge:
            record.status = 413
            return _refuse(ApiError(413, f"Request entity too large: limit is {request.client_max_size}"))
        # What has arrived is carried out, also when its client does not wait for the answer.
        task = asyncio.ensure_future(self._answer(request, call, record))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Drop what is held, as a server that is killed does; and forget all faults."""
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self.plan.clear()

    async def _answer(self, request: web.Request, call: Call, record: RequestRecord) -> web.StreamResponse:
        async def carry_out(request: web.Request) -> web.StreamResponse:
            try:
                user = access.identify(request)
                record.user = user.name
                return await self._routes.answer(request, call, user, self.allow)
            except ApiError as error:
                return _refuse(error)

        response = await self.plan.serve(request, (call.verb, call.resource), call.name, carry_out)
        if request.transport is not None and not request.transport.is_closing():
            record.status = response.status
        return response


def _record(request: web.Request, call: Call) -> RequestRecord:
    return RequestRecord(
        method=request.method,
        path=request.path,
        query=request.query_string,
        verb=call.verb,
        resource=call.resource,
        namespace=call.namespace,
        name=call.name,
        user="",
        manager=find_manager(request),
        at=time.time(),
    )


def _refuse(error: ApiError) -> web.Response:
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return web.Response(body=dump(error.status()), status=error.code, content_type="application/json", headers=headers)


def _refuse_by_fault(fault: Fault) -> web.Response:
    reason = fault.code or REASONS.get(fault.status, "Unknown")
    message = fault.message or f"simulated fault: {reason}"
    return _refuse(ApiError(fault.status, message, reason=reason, retry_after=fault.retry_after))
