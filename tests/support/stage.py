"""A stage for the operator: both simulated servers over real HTTP, and operators in-process or as processes."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

from kubernetes.aio.config import kube_config as async_config
from kubernetes.config import kube_config as sync_config

from pipeline_approver.app import run_operator
from pipeline_approver.sandbox.crd import read_crd
from pipeline_approver.sandbox.feldera import FelderaServer
from pipeline_approver.sandbox.kube import KubeServer
from pipeline_approver.settings import Settings

T = TypeVar("T")

GROUP = "pipeline-approver.io"
API = f"{GROUP}/v1alpha1"
PATIENCE_SECONDS = 30.0

# Fast enough that nobody waits, slow enough that a poll does not overtake a call.
SETTINGS = {"poll_interval_seconds": 0.05, "approve_timeout_seconds": 1.0, "settle_seconds": 1.5, "health_port": 0}
PATIENT = {"approve_timeout_seconds": 10.0, "settle_seconds": 30.0}
"""For many at once: half a second from a record to its call, as above, is too little for them on a busy machine."""


async def wait_until(look: Callable[[], T], what: str = "the condition") -> T:
    """The first true answer; the patience is a safety net, not an assertion about speed."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not (found := look()):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{what} did not come true in {PATIENCE_SECONDS:g} s")
        await asyncio.sleep(0.01)
    return found


class Stage:
    """Both servers, and short words for what users do and see."""

    def __init__(self, folder: Path, **feldera: Any) -> None:
        self.kube = KubeServer()
        self.feldera = FelderaServer(**{"lag_seconds": 0.01, "step_seconds": 0.02, **feldera})
        self.kubeconfig = folder / "kubeconfig"
        self._operators: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Stage":
        await self.kube.start()
        await self.feldera.start()
        self.kube.put(read_crd())
        self.kubeconfig.write_text(json.dumps(self.kube.kubeconfig()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.feldera.stop()
        await self.kube.stop()

    @property
    def environ(self) -> dict[str, str]:
        """What an operator on this stage needs in its environment."""
        return {"KUBECONFIG": str(self.kubeconfig), "FELDERA_URL": self.feldera.url}

    def select(self) -> None:
        """Have operators in this process use this stage's kubeconfig."""
        # The official client reads the variable once, when it is imported.
        sync_config.KUBE_CONFIG_DEFAULT_LOCATION = async_config.KUBE_CONFIG_DEFAULT_LOCATION = str(self.kubeconfig)

    @contextlib.asynccontextmanager
    async def operator(self, *, environ: dict[str, str] | None = None, **settings: Any) -> AsyncIterator[None]:
        """The operator in this process, with kopf and all; it has seen all Pipelines.

        In a thread with a loop of its own, as in a process: what it leaves behind when it ends cannot be mistaken for
        the servers' work, and the other way round.
        """
        self.select()
        chosen = Settings(**{**SETTINGS, **settings})
        environ = self.environ if environ is None else environ
        started: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, asyncio.Event]] = []

        async def run() -> None:
            stop, ready = asyncio.Event(), asyncio.Event()
            started.append((asyncio.get_running_loop(), stop, ready))
            await run_operator(chosen, environ, stop_flag=stop, ready_flag=ready)

        running = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(run())))
        try:
            await wait_until(lambda: running.done() or (started and started[0][2].is_set()), "the operator is ready")
            if running.done():
                running.result()
            yield
        finally:
            if not running.done():
                loop, stop, _ = started[0]
                loop.call_soon_threadsafe(stop.set)
            await running

    async def process(self, *arguments: str, environ: dict[str, str] | None = None) -> "OperatorProcess":
        """The operator as a process of its own."""
        command = ("run", "--poll-interval", "0.05", "--health-port", "0", *arguments)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pipeline_approver",
            *command,
            env={**os.environ, **self.environ, **(environ or {})},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        return OperatorProcess(process)

    def create(
        self, name: str, *, namespace: str = "default", annotations: dict[str, str] | None = None, **spec: Any
    ) -> None:
        """Create a Pipeline; annotations without our prefix."""
        metadata = {"name": name, "namespace": namespace, "annotations": prefix(annotations or {})}
        self.kube.put({"apiVersion": API, "kind": "Pipeline", "metadata": metadata, "spec": spec})

    def get(self, name: str, namespace: str = "default") -> dict[str, Any]:
        """A Pipeline as it is."""
        found = self.kube.get("pipelines", namespace, name)
        assert found is not None
        return found

    def status(self, name: str, namespace: str = "default") -> dict[str, Any]:
        """Its status."""
        status: dict[str, Any] = self.get(name, namespace).get("status", {})
        return status

    def annotate(self, name: str, namespace: str = "default", **values: str | None) -> None:
        """Set annotations, as `kubectl annotate --overwrite` does; None removes one."""
        manifest = json.loads(json.dumps(self.get(name, namespace)))
        annotations = manifest["metadata"].get("annotations") or {}
        for key, value in prefix(values).items():
            annotations.pop(key, None)
            if value is not None:
                annotations[key] = value
        manifest["metadata"]["annotations"] = annotations
        manifest["metadata"].pop("resourceVersion")
        self.kube.put(manifest)

    def change(self, name: str, namespace: str = "default", **spec: Any) -> None:
        """Set fields of the spec; None removes one."""
        manifest = json.loads(json.dumps(self.get(name, namespace)))
        merged = {**manifest.get("spec", {}), **spec}
        manifest["spec"] = {key: value for key, value in merged.items() if value is not None}
        manifest["metadata"].pop("resourceVersion")
        self.kube.put(manifest)

    async def polls(self, count: int) -> None:
        """Let the operator poll some more times."""
        lists = ("GET", "/v0/pipelines", "status")
        goal = self.feldera.counts[lists] + count
        await wait_until(lambda: self.feldera.counts[lists] >= goal, "the polls")

    async def reach(self, name: str, is_reached: Callable[[dict[str, Any]], Any], namespace: str = "default") -> Any:
        """Wait until a status is so; the answer is what was found."""
        try:
            return await wait_until(lambda: is_reached(self.status(name, namespace)))
        except AssertionError:
            raise AssertionError(json.dumps(self.status(name, namespace), indent=1)) from None

    async def request(self, name: str) -> dict[str, Any]:
        """The request that waits, as soon as the status shows it."""
        found: dict[str, Any] = await self.reach(name, lambda status: status.get("request"))
        return found

    async def outcome(self, name: str, *outcomes: str) -> dict[str, Any]:
        """The decision, as soon as it has one of these outcomes."""

        def look(status: dict[str, Any]) -> Any:
            decision = status.get("decision", {})
            return decision if decision.get("outcome") in outcomes else None

        found: dict[str, Any] = await self.reach(name, look)
        return found

    def condition(self, name: str, type_: str) -> dict[str, Any]:
        """One condition; empty when it is not there."""
        conditions = self.status(name).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == type_), {})

    def events(self, name: str, reason: str | None = None) -> list[dict[str, Any]]:
        """The Events of a Pipeline."""
        return [
            event
            for event in self.kube.list("events")
            if event["involvedObject"]["name"] == name and reason in (None, event["reason"])
        ]

    def writes(self) -> int:
        """How often anybody wrote to Pipelines over HTTP."""
        return sum(
            count
            for (verb, resource), count in self.kube.counts.items()
            if resource.startswith("pipelines") and verb in ("create", "update", "patch", "delete")
        )


class OperatorProcess:
    """An operator in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Signal it and wait; the answer is its exit code and what it wrote."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        output, errors = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, (output + errors).decode()


def prefix(values: dict[str, Any]) -> dict[str, Any]:
    """Annotation keys with our prefix: approved_by becomes pipeline-approver.io/approved-by."""
    return {f"{GROUP}/{key.replace('_', '-')}": value for key, value in values.items()}
