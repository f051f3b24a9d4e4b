"""Direct control over HTTP below /sandbox, for demos and for tests in other processes."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from pipeline_approver.sandbox.feldera.errors import bad_request


class ControlRoutes:
    """The same as the methods of FelderaServer; bodies are their keyword arguments."""

    def __init__(self, server: Any) -> None:
        self.server = server

    def table(self) -> list[web.RouteDef]:
        one = "/sandbox/pipelines/{name}"
        return [
            web.post("/sandbox/pipelines", self.add),
            web.post(f"{one}/ask", self.ask),
            web.post(f"{one}/{{action}}", self.act),
            web.post("/sandbox/faults", self.add_fault),
            web.delete("/sandbox/faults", self.clear_faults),
            web.get("/sandbox/approvals", self.approvals),
            web.get("/sandbox/stops", self.stops),
            web.get("/sandbox/counts", self.counts),
        ]

    async def add(self, request: web.Request) -> web.Response:
        body = await _arguments(request)
        name = body.pop("name", "")
        pipeline = _call(self.server.add, name, **body)
        return web.json_response({"id": pipeline.id, "deployment_id": pipeline.deployment_id}, status=201)

    async def ask(self, request: web.Request) -> web.Response:
        body = await _arguments(request)
        return web.json_response({"deployment_id": _call(self.server.ask, request.match_info["name"], **body)})

    async def act(self, request: web.Request) -> web.Response:
        """Any of the named handles of a pipeline."""
        pipeline = self.server.manager.get(request.match_info["name"])
        actions: dict[str, Callable[..., None]] = {
            "crash_process": pipeline.crash_process,
            "set_observed": pipeline.set_observed,
            "freeze_observation": pipeline.freeze_observation,
            "thaw": pipeline.thaw,
            "fail_after_approval": pipeline.fail_after_approval,
            "fail_next_checkpoint": pipeline.fail_next_checkpoint,
            "swap_deployment_on_next_approve": pipeline.swap_deployment_on_next_approve,
        }
        action = actions.get(request.match_info["action"])
        if action is None:
            raise bad_request("UnknownAction", f"known actions: ask, {', '.join(actions)}")
        _call(action, **await _arguments(request))
        return web.json_response({})

    async def add_fault(self, request: web.Request) -> web.Response:
        body = await _arguments(request)
        match = body.pop("match", ["*", "*"])
        _call(self.server.faults.add, (str(match[0]), str(match[1])), **body)
        return web.json_response({}, status=201)

    async def clear_faults(self, _: web.Request) -> web.Response:
        self.server.faults.clear()
        return web.json_response({})

    async def approvals(self, _: web.Request) -> web.Response:
        return web.json_response([asdict(record) for record in self.server.approvals])

    async def stops(self, _: web.Request) -> web.Response:
        return web.json_response([asdict(record) for record in self.server.stops])

    async def counts(self, _: web.Request) -> web.Response:
        counted = self.server.counts.items()
        body = [{"method": m, "route": r, "selector": s, "count": n} for (m, r, s), n in counted]
        return web.json_response(body)


async def _arguments(request: web.Request) -> dict[str, Any]:
    body = await request.json() if request.body_exists else {}
    if not isinstance(body, dict):
        raise bad_request("InvalidArguments", "the body must be an object of arguments")
    return body


def _call(action: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Wrong arguments are the caller's mistake, and answered as such."""
    try:
        return action(*args, **kwargs)
    except (TypeError, ValueError) as error:
        raise bad_request("InvalidArguments", str(error)) from error
