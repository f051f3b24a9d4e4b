"""What every request passes on its way in: records, authentication, holds and faults; and errors on its way out."""

import collections
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from pipeline_approver.sandbox.feldera.errors import ApiError
from pipeline_approver.sandbox.feldera.faults import FaultPlan
from pipeline_approver.sandbox.feldera.records import RequestRecord

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REMEMBERED_REQUESTS = 20_000


class Gate:
    """The middleware of the simulated Feldera. /sandbox is not recorded, not guarded, and never faulty."""

    def __init__(self, *, plan: FaultPlan, api_keys: Mapping[str, str] | None) -> None:
        self.plan = plan
        self.api_keys = None if api_keys is None else dict(api_keys)
        self.requests: collections.deque[RequestRecord] = collections.deque(maxlen=REMEMBERED_REQUESTS)
        self.counts: collections.Counter[tuple[str, str, str]] = collections.Counter()

    def middleware(self) -> Any:
        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path.startswith("/sandbox/"):
                return await _answer(request, handler)
            return await self._record(request, handler)

        return gate

    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        at = time.time()
        status = 0
        self.counts[(request.method, _template(request), request.query.get("selector", ""))] += 1
        try:
            response = await self._pass(request, handler)
            if request.transport is not None and not request.transport.is_closing():
                status = response.status
            return response
        except web.HTTPException as answer:
            status = answer.status
            raise
        finally:
            self.requests.append(
                RequestRecord(
                    method=request.method,
                    path=request.path,
                    query=request.query_string,
                    status=status,
                    at=at,
                )
            )

    async def _pass(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if (refusal := self._unauthorized(request)) is not None:
            return refusal
        method, operation = request.method, _operation(request)
        pipeline = request.match_info.get("name")

        async def apply(request: web.Request) -> web.StreamResponse:
            return await _answer(request, handler)

        return await self.plan.serve(request, (method, operation), pipeline, apply)

    def role(self, request: web.Request) -> str | None:
        """The role of the caller: admin without authentication, None for a key that is not known."""
        if self.api_keys is None:
            return "admin"
        return self.api_keys.get(request.headers.get("Authorization", "").removeprefix("Bearer "))

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        if self.api_keys is None or request.path == "/healthz":
            return None
        if "Authorization" not in request.headers:
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        role = self.role(request)
        if role is None:
            text = '{"message":"Unauthorized API key","error_code":"AuthenticationFailed"}'
            return web.Response(status=401, text=text, content_type="text/plain")
        if role == "read" and request.method != "GET":
            body = {
                "message": "Insufficient permissions: this operation requires the role 'write' or higher",
                "error_code": "InsufficientPermissions",
            }
            return web.json_response(body, status=403)
        return None


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return error.response()


def _template(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else request.path


def _operation(request: web.Request) -> str:
    """`list` and `get` for pipelines themselves, else the last fixed part of the path."""
    match _template(request):
        case "/v0/pipelines":
            return "list" if request.method == "GET" else "create"
        case "/v0/pipelines/{name}":
            return "get" if request.method == "GET" else request.method.lower()
        case template:
            return template.rsplit("/", 1)[-1]
