"""Feldera's API server: who may ask, what it answers, and how it fails."""

import collections
import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from simulation.deployments import Deployment, Program, World
from simulation.network import Answer, Call
from simulation.pipelines import Pipeline

SPOILT = {
    # Where nothing was done: status, code, body if it is not Feldera's, weight.
    "before": (
        (200, "", b"<html>Please log in</html>", 1),
        (302, "", b"", 1),
        (401, "AuthenticationFailed", None, 2),
        (403, "InsufficientPermissions", None, 1),
        (404, "", b"not found", 1),
        (408, "", b"", 1),
        (429, "ApiConnectionLimit", None, 2),
        (500, "PostgresError", None, 3),
        (502, "", b"<html>Bad Gateway</html>", 2),
        (503, "PipelineInteractionUnreachable", None, 2),
        (503, "PipelineUnavailable", None, 1),
        (504, "", b"", 1),
    ),
    # Where it was done, and the answer says otherwise.
    "after": (
        (500, "PostgresError", None, 2),
        (502, "", b"<html>Bad Gateway</html>", 1),
        (503, "PipelineInteractionUnreachable", None, 2),
        (503, "LockTookTooLong", None, 2),
        (504, "", b"", 1),
    ),
    "nonsense": (
        (200, "", b"<html>Please log in</html>", 2),
        (200, "", b'{"id": "0199', 1),
        (200, "", b"null", 1),
        (200, "", b"[null, {}, 3]", 1),
    ),
}


class Feldera:
    """All pipelines of one tenant."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pipelines: dict[str, Pipeline] = {}
        self.deleted: list[Pipeline] = []
        self.keys: dict[str, str] = {"": "write"}
        """Roles by key."""
        self.bad_row = ""
        """The pipeline whose row cannot be read."""
        self.counts: collections.Counter[str] = collections.Counter()
        self.on_stop: list[Callable[[Call, Deployment | None], None]] = []
        self._list: tuple[int, bytes] = (-1, b"")

    def create(self, name: str, program: Program) -> Pipeline:
        self.world.revision += 1
        pipeline = self.pipelines[name] = Pipeline(self.world, name, program)
        return pipeline

    def delete(self, name: str) -> None:
        if self.pipelines[name].delete():
            self.deleted.append(self.pipelines.pop(name))

    def set_runner(self, up: bool) -> None:
        self.world.set_runner(up)
        for pipeline in self.pipelines.values():
            pipeline.observe()

    def serve(self, call: Call) -> Answer:
        """One request; `call.seen` keeps what it showed or did."""
        role = self.keys.get(call.token)
        if role is None:
            return _refuse(401, "AuthenticationFailed", "Unauthorized API key")
        if role == "read" and call.method != "GET":
            return _refuse(403, "InsufficientPermissions", "Insufficient permissions")
        parts = [unquote(part) for part in call.path.strip("/").split("/")]
        if parts == ["v0", "pipelines"]:
            self.counts["list"] += 1
            return self._serve_list()
        name, action = parts[2], parts[3] if len(parts) > 3 else ""
        self.counts[action or f"get {call.query.get('selector', '')}"] += 1
        pipeline = self.pipelines.get(name)
        if pipeline is None:
            return _refuse(404, "UnknownPipelineName", f"Unknown pipeline name '{name}'")
        match call.method, action:
            case "GET", "":
                if name == self.bad_row:
                    return _refuse(500, "InvalidRuntimeStatus", "the row cannot be read")
                call.seen = call.seen or _remember(pipeline)
                return Answer(200, pipeline.text(call.query["selector"]))
            case "POST", "approve":
                return self._approve(pipeline, call)
            case "POST", "stop":
                if call.query.get("force") != "true":
                    return _refuse(501, "EnterpriseFeature", "graceful stop")
                call.seen = call.seen or pipeline.deployment
                if pipeline.resources_desired != "Stopped":
                    for listener in self.on_stop:
                        listener(call, pipeline.deployment)
                pipeline.stop()
                return Answer(202, b'"Pipeline is stopping"')
            case "POST", "checkpoint":
                return self._checkpoint(pipeline, call)
            case "GET", "checkpoint_status":
                return self._checkpoint_status(pipeline, call)
        return Answer(404, b"")

    def _serve_list(self) -> Answer:
        if self.bad_row in self.pipelines:
            return _refuse(500, "InvalidRuntimeStatus", "a row cannot be read")
        if self._list[0] != self.world.revision:
            rows = b",".join(pipeline.text("status") for pipeline in self.pipelines.values())
            self._list = (self.world.revision, b"[" + rows + b"]")
        return Answer(200, self._list[1])

    def _approve(self, pipeline: Pipeline, call: Call) -> Answer:
        silent, concurrent = (call.query.get(f"{flag}_bootstrap") == "true" for flag in ("silent", "concurrent"))
        if silent and concurrent:
            return _refuse(400, "InvalidBootstrapConfig", "silent and concurrent exclude each other")
        if (unready := _find_unready(pipeline)) is not None:
            return unready
        approval = pipeline.approve(silent=silent, concurrent=concurrent, call=call)
        if approval is None:
            return _refuse(503, "PipelineInteractionUnreachable", "Failed to connect to host")
        call.seen = call.seen or (pipeline.deployment, approval)
        if self.world.traits.documented and self.world.traits.enterprise:
            return self._name(pipeline.number_with_approval(), 202)
        return Answer(200, b'"Bootstrap approved"')

    def _checkpoint(self, pipeline: Pipeline, call: Call) -> Answer:
        if not self.world.traits.enterprise:
            return _refuse(501, "EnterpriseFeature", "checkpoints")
        if (unready := _find_unready(pipeline)) is not None:
            return unready
        named = pipeline.request_checkpoint()
        if named is None:
            return _refuse(503, "Initializing", "the pipeline is initializing")
        call.seen = call.seen or (pipeline.id, named)
        return self._name(named, 200)

    def _name(self, named: tuple[int, str] | None, status: int) -> Answer:
        body: dict[str, Any] = {}
        if named is not None:
            body["checkpoint_sequence_number"] = named[0]
            if self.world.traits.incarnations:
                body["incarnation_uuid"] = named[1]
        return Answer(status, json.dumps(body).encode())

    def _checkpoint_status(self, pipeline: Pipeline, call: Call) -> Answer:
        process = pipeline.process
        if (unready := _find_unready(pipeline)) is not None:
            return unready
        if process is None:
            return _refuse(503, "PipelineInteractionUnreachable", "Failed to connect to host")
        asked = call.query.get("incarnation_uuid")
        if asked is not None and asked != process.incarnation:
            return _refuse(400, "IncarnationUuidMismatch", "another process")
        failure = process.failure and {"sequence_number": process.failure[0], "error": process.failure[1]}
        return Answer(200, json.dumps({"success": process.success, "failure": failure}).encode())

    @staticmethod
    def spoil(call: Call, rng: random.Random) -> Answer:
        """An answer that is not what the server did, or wants to do."""
        kinds = SPOILT[call.fate.removeprefix("error ")]
        status, code, body, _ = rng.choices(kinds, [kind[3] for kind in kinds])[0]
        answer = _refuse(status, code, "simulated") if body is None else Answer(status, body)
        if status in (429, 503) and rng.random() < 0.5:
            answer.headers["Retry-After"] = str(rng.choice([1, 5, 30]))
        return answer


def _find_unready(pipeline: Pipeline) -> Answer | None:
    """Whether the manager forwards calls to the process: it decides by what the runner saw last."""
    if pipeline.resources != "Provisioned":
        return _refuse(503, "PipelineInteractionNotDeployed", "the pipeline is not deployed")
    if pipeline.runtime == "Unavailable":
        return _refuse(503, "PipelineUnavailable", "the pipeline is unavailable")
    return None


def _remember(pipeline: Pipeline) -> dict[str, Any]:
    return {
        "deployment": pipeline.deployment,
        "diff": pipeline.shown_diff,
        "status": pipeline.status,
        "desired": pipeline.desired_status,
        "resources_desired": pipeline.resources_desired,
    }


def _refuse(status: int, code: str, message: str) -> Answer:
    return Answer(status, json.dumps({"message": message, "error_code": code, "details": {}}).encode())
