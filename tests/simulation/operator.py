"""One operator: the product's own composition, in a process of the simulation, with a clock that may be wrong."""

import datetime
import logging
import random
from collections.abc import Callable
from typing import Any

from pipeline_approver.app import build_engine
from pipeline_approver.engine.engine import Engine
from pipeline_approver.engine.supervisor import Supervisor
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import Connection
from pipeline_approver.kube.events import EventRecorder
from pipeline_approver.settings import Settings
from simulation.kubernetes import EPOCH, Change, Kubernetes
from simulation.loop import Process, SimLoop
from simulation.network import Network
from simulation.wire import FelderaTransport, OnCall, SimKubeApi

FELDERA_URL = "http://feldera"


class Operator:
    """A replica: it is started, crashes, stands still, and is started again."""

    def __init__(
        self,
        name: str,
        *,
        loop: SimLoop,
        rng: random.Random,
        settings: Settings,
        kubernetes: Kubernetes,
        to_kubernetes: Network,
        to_feldera: Network,
        on_send: OnCall,
        complain: Callable[[str], None],
    ) -> None:
        self.name = name
        self.skew_seconds = 0.0
        self.process: Process | None = None
        self.watch: Watch | None = None
        self.started_at = 0.0
        self._loop = loop
        self._rng = rng
        self._settings = settings
        self._kubernetes = kubernetes
        self._to_kubernetes = to_kubernetes
        self._to_feldera = to_feldera
        self._on_send = on_send
        self._complain = complain

    def start(self) -> None:
        """Start a new process."""
        if self.process is None:
            self.started_at = self._loop.now
            self.process = self._loop.spawn(self.name)
            self.process.call_soon(self._run, self.process)

    def crash(self) -> None:
        """End the process at once; all that it knew is gone."""
        process, self.process = self.process, None
        if process is not None:
            if self.watch is not None:
                self.watch.close()
                self.watch = None
            self._loop.kill(process)

    def freeze(self, seconds: float) -> None:
        """Let the process stand still for a while."""
        process = self.process
        if process is None or process.frozen:
            return
        process.frozen = True
        self._loop.after(seconds, self.thaw, process)

    def thaw(self, process: Process | None = None) -> None:
        """Let the process go on."""
        process = process or self.process
        if process is not None:
            process.frozen = False

    def now(self) -> datetime.datetime:
        """The time as this machine has it."""
        return EPOCH + datetime.timedelta(seconds=self._loop.now + self.skew_seconds)

    def _run(self, process: Process) -> None:
        kube = SimKubeApi(self._loop, process, self, self._to_kubernetes)
        recorder = EventRecorder(kube, now=self.now)
        supervisor = Supervisor(on_death=lambda task: self._complain(f"{self.name}: the task {task!r} died"))

        def open_client(connection: Connection) -> FelderaClient:
            return FelderaClient(
                connection,
                approve_timeout_seconds=self._settings.approve_timeout_seconds,
                transport=FelderaTransport(self._loop, process, self, self._to_feldera, self._on_send),
                now=lambda: self.now().timestamp(),
            )

        engine = build_engine(
            self._settings,
            Connection(url=FELDERA_URL),
            kube,
            supervisor,
            recorder,
            on_synced=lambda: None,
            open_client=open_client,
            now=self.now,
        )
        self.watch = Watch(self._loop, process, self._kubernetes, engine, self._rng)
        supervisor.spawn("events", recorder.run())
        engine.start()


class Watch:
    """What kopf is in production: events of one object in order, those of several in any, some of them skipped."""

    def __init__(
        self, loop: SimLoop, process: Process, kubernetes: Kubernetes, engine: Engine, rng: random.Random
    ) -> None:
        self.seen: dict[tuple[str, str], dict[str, Any]] = {}
        """The Pipelines as the operator was last told of them."""
        self._loop = loop
        self._process = process
        self._kubernetes = kubernetes
        self._engine = engine
        self._rng = rng
        self._connected = True
        self._forgotten = False
        self._position = 0
        self._next_at: dict[str, float] = {}
        self._newest: dict[str, Change] = {}
        kubernetes.on_change.append(self._take)
        self._list()

    def close(self) -> None:
        """Nothing comes any more."""
        self._kubernetes.on_change.remove(self._take)
        self._connected = False

    def cut(self, seconds: float, *, forgotten: bool) -> None:
        """Lose the connection for a while; `forgotten`: the server no longer has what was missed (410)."""
        if not self._connected:
            return
        self._connected, self._forgotten = False, forgotten
        self._position = len(self._kubernetes.log)
        self._loop.after(seconds, self.connect)

    def connect(self) -> None:
        """Go on where the connection was lost, or from a new list."""
        if self._connected or self._process.dead:
            return
        self._connected = True
        if self._forgotten:
            self._list()
        else:
            for change in self._kubernetes.log[self._position :]:
                self._take(change)

    def _list(self) -> None:
        version = len(self._kubernetes.log)
        for manifest in self._kubernetes.pipelines.values():
            self._schedule(Change(version, "LISTED", manifest))

    def _take(self, change: Change) -> None:
        if self._connected:
            self._schedule(change)

    def _schedule(self, change: Change) -> None:
        uid = change.manifest["metadata"]["uid"]
        delay = self._rng.uniform(0.001, 0.05) if self._rng.random() < 0.9 else self._rng.uniform(0.05, 3.0)
        due = self._next_at[uid] = max(self._next_at.get(uid, 0.0), self._loop.now + delay)
        self._newest[uid] = change
        self._loop.at(due, self._deliver, change)

    def _deliver(self, change: Change) -> None:
        if self._process.dead:
            return
        is_newest = self._newest[change.manifest["metadata"]["uid"]] is change
        if is_newest or change.type == "DELETED" or self._rng.random() < 0.5:
            self._process.call_soon(self._observe, change)

    def _observe(self, change: Change) -> None:
        metadata = change.manifest["metadata"]
        key = (metadata["namespace"], metadata["name"])
        self._engine.observe(deleted=change.type == "DELETED", manifest=change.manifest)
        if change.type != "DELETED":
            self.seen[key] = change.manifest
        elif key in self.seen and self.seen[key]["metadata"]["uid"] == metadata["uid"]:
            del self.seen[key]


class Listener(logging.Handler):
    """Hears what the product calls an error: in the simulation nothing but a defect is one."""

    def __init__(self, complain: Callable[[str], None]) -> None:
        super().__init__(level=logging.ERROR)
        self._complain = complain

    def emit(self, record: logging.LogRecord) -> None:
        self._complain(f"the product logs an error: {self.format(record)}")
