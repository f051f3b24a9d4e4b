"""The routes of Feldera's REST API below /v0: parsing a request, and the shape of its answer."""

import json
import time
from typing import Any

from aiohttp import web

from pipeline_approver.sandbox.feldera import rows
from pipeline_approver.sandbox.feldera.errors import ApiError
from pipeline_approver.sandbox.feldera.manager import INITIAL, POLICIES, Manager
from pipeline_approver.sandbox.feldera.process import NO_CONTROLLER

SELECTORS = frozenset({"all", "status", "status_with_connectors"})
BASE = "/v0/pipelines/{name}"


class PipelineRoutes:
    """Handlers for pipelines; every refusal is an ApiError, turned into an answer by the gate."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager

    def table(self) -> list[web.RouteDef]:
        return [
            web.get("/v0/pipelines", self.list_all),
            web.post("/v0/pipelines", self.create),
            web.get(BASE, self.get),
            web.put(BASE, self.put),
            web.patch(BASE, self.patch),
            web.delete(BASE, self.delete),
            web.post(f"{BASE}/update_runtime", self.update_runtime),
            web.post(f"{BASE}/start", self.start),
            web.post(f"{BASE}/stop", self.stop),
            web.post(f"{BASE}/approve", self.approve),
            web.post(f"{BASE}/pause", self.desire),
            web.post(f"{BASE}/resume", self.desire),
            web.post(f"{BASE}/activate", self.activate),
            web.post(f"{BASE}/clear", self.clear),
            web.post(f"{BASE}/dismiss_error", self.dismiss_error),
            web.post(f"{BASE}/diff", self.diff),
            web.post(f"{BASE}/checkpoint", self.checkpoint),
            web.get(f"{BASE}/checkpoint_status", self.checkpoint_status),
            web.get(f"{BASE}/checkpoints", self.checkpoints),
            web.get(f"{BASE}/stats", self.stats),
            web.get(f"{BASE}/logs", self.logs),
        ]

    async def list_all(self, request: web.Request) -> web.Response:
        return _raw(self.manager.list_json(_selector(request)))

    async def get(self, request: web.Request) -> web.Response:
        selector = _selector(request)
        return _raw(self.manager.get(_name(request)).json(selector))

    async def create(self, request: web.Request) -> web.Response:
        pipeline = self.manager.create(await _body(request))
        return _json(rows.info_object(pipeline.row), status=201)

    async def put(self, request: web.Request) -> web.Response:
        pipeline, created = self.manager.put(_name(request), await _body(request))
        return _json(rows.info_object(pipeline.row), status=201 if created else 200)

    async def patch(self, request: web.Request) -> web.Response:
        pipeline = self.manager.edit(_name(request), await _body(request))
        return _json(rows.info_object(pipeline.row))

    async def delete(self, request: web.Request) -> web.Response:
        self.manager.delete(_name(request))
        return web.Response()

    async def update_runtime(self, request: web.Request) -> web.Response:
        return _json(rows.info_object(self.manager.update_runtime(_name(request)).row))

    async def start(self, request: web.Request) -> web.Response:
        initial = INITIAL.get(request.query.get("initial", "running").lower())
        policy = request.query.get("bootstrap_policy", "await_approval")
        if initial is None or policy not in POLICIES:
            raise _unreadable("initial or bootstrap_policy")
        self.manager.start(
            _name(request),
            initial=initial,
            policy=policy,
            silent=_flag(request, "silent_bootstrap"),
            concurrent=_flag(request, "concurrent_bootstrap"),
            dismiss_error=_flag(request, "dismiss_error", default=True),
        )
        return _json("Pipeline is being started", status=202)

    async def stop(self, request: web.Request) -> web.Response:
        self.manager.stop(_name(request), force=_flag(request, "force"))
        return _json("Pipeline is being stopped", status=202)

    async def approve(self, request: web.Request) -> web.Response:
        number = self.manager.approve(
            _name(request),
            silent=_flag(request, "silent_bootstrap"),
            concurrent=_flag(request, "concurrent_bootstrap"),
        )
        if number is None:
            return _json("Bootstrap approved")
        return _json({"checkpoint_sequence_number": number}, status=202)

    async def desire(self, request: web.Request) -> web.Response:
        action = request.path.rsplit("/", 1)[-1]
        pipeline, _ = self.manager.reach(_name(request), f"/{action}")
        pipeline.desire("Paused" if action == "pause" else "Running")
        return _json(f"Pipeline is asked to {action}", status=202)

    async def activate(self, request: web.Request) -> web.Response:
        pipeline, _ = self.manager.reach(_name(request), "/activate")
        pipeline.activate()
        return _json("Pipeline activation initiated", status=202)

    async def clear(self, request: web.Request) -> web.Response:
        self.manager.clear(_name(request))
        return _json("Pipeline storage is being cleared", status=202)

    async def dismiss_error(self, request: web.Request) -> web.Response:
        self.manager.dismiss_error(_name(request))
        return _json("Deployment error is dismissed")

    async def diff(self, request: web.Request) -> web.Response:
        return _json(self.manager.diff(_name(request), await _body(request)))

    async def checkpoint(self, request: web.Request) -> web.Response:
        return _json(self.manager.checkpoint(_name(request)))

    async def checkpoint_status(self, request: web.Request) -> web.Response:
        incarnation = request.query.get("incarnation_uuid")
        return _json(self.manager.checkpoint_status(_name(request), incarnation))

    async def checkpoints(self, request: web.Request) -> web.Response:
        pipeline, _ = self.manager.reach(_name(request), "/checkpoints")
        return _json(pipeline.checkpoints)

    async def stats(self, request: web.Request) -> web.Response:
        _, process = self.manager.reach(_name(request), "/stats")
        if process.phase in NO_CONTROLLER:
            raise ApiError(503, "Initializing", "Operation failed because the pipeline is still initializing.")
        writing = {"status": "in_progress", "started_at": "1970-01-01T00:00:00Z"}
        metrics: dict[str, Any] = {
            "state": "Paused" if process.phase == "Paused" else "Running",
            "bootstrap_in_progress": process.phase == "Bootstrapping",
            "transaction_status": "NoTransaction",
            "transaction_id": 0,
            "transaction_initiators": {"initiated_by_connectors": {}},
            "concurrent_bootstrap_phase": "Inactive",
            "memory_pressure": "low",
            "start_time": process.started_at,
            "initial_start_time": process.started_at,
            "uptime_msecs": int((time.time() - process.started_at) * 1000),
            "incarnation_uuid": process.incarnation,
            "pipeline_complete": False,
        }
        answer: dict[str, Any] = {
            "global_metrics": dict.fromkeys(_COUNTERS, 0) | metrics,
            "suspend_error": None,
            "inputs": [],
            "outputs": [],
            "checkpoint_activity": writing if process.writing else {"status": "idle"},
        }
        return _json(answer)

    async def logs(self, request: web.Request) -> web.Response:
        pipeline = self.manager.get(_name(request))
        text = f"[{pipeline.name}] {pipeline.phase}\n"
        headers = {"feldera-logs-epoch": pipeline.id, "feldera-logs-seq": "0", "feldera-logs-gap": "0"}
        return web.Response(text=text, headers=headers)


_COUNTERS = (
    "memory_pressure_epoch",
    "rss_bytes",
    "cpu_msecs",
    "storage_bytes",
    "storage_mb_secs",
    "runtime_elapsed_msecs",
    "buffered_input_records",
    "buffered_input_bytes",
    "total_input_records",
    "total_input_bytes",
    "total_processed_records",
    "total_processed_bytes",
    "total_completed_records",
    "output_stall_msecs",
    "total_initiated_steps",
    "total_completed_steps",
)


def _name(request: web.Request) -> str:
    return request.match_info["name"]


def _selector(request: web.Request) -> str:
    selector = request.query.get("selector", "all")
    if selector not in SELECTORS:
        raise _unreadable("selector")
    return selector


def _flag(request: web.Request, name: str, *, default: bool = False) -> bool:
    value = request.query.get(name)
    if value is None:
        return default
    if value not in {"true", "false"}:
        raise _unreadable(name)
    return value == "true"


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.text() or "{}")
    except ValueError:
        raise web.HTTPBadRequest(text="Json deserialize error") from None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="Json deserialize error: expected an object")
    return body


def _unreadable(what: str) -> web.HTTPBadRequest:
    """The web framework's own 400, which is no Feldera JSON."""
    return web.HTTPBadRequest(text=f"Query deserialize error: {what}")


def _json(value: Any, *, status: int = 200) -> web.Response:
    return _raw(json.dumps(value).encode(), status=status)


def _raw(body: bytes, *, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-cache"}
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")
