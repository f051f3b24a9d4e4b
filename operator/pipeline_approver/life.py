"""An operator's life: look around, run kopf with the engine beside it, and at the end leave no work half done."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import kopf

from pipeline_approver import __version__, handlers, stopping
from pipeline_approver.core.resource import GROUP, KIND, VERSION
from pipeline_approver.engine.engine import Engine
from pipeline_approver.engine.supervisor import Supervisor
from pipeline_approver.health import HealthServer, PortUnusable
from pipeline_approver.kube import errors as kube_errors
from pipeline_approver.kube.api import KubeApi
from pipeline_approver.kube.events import EventRecorder
from pipeline_approver.kube.lease import Lease
from pipeline_approver.login import Login
from pipeline_approver.metrics import Metrics
from pipeline_approver.settings import Settings

LEASE_NAME = "pipeline-approver"
"""The permissions in `deploy/base` are for this name."""
FIRST_LOOK_PAUSES_SECONDS = (1, 2, 5, 10, 20, 30)
# Together below the pod's grace period of 30 seconds.
FINISH_SECONDS = 18.0
"""For what is in hand when the operator is asked to stop: a call with the default timeout, and its record."""
RELEASE_SECONDS = 3.0
EVENTS_SECONDS = 2.0

log = logging.getLogger("pipeline_approver")


class StartupFailed(Exception):
    """The operator cannot work here; the message is for the person who runs it."""


class Life:
    """One operator from its start to its end."""

    def __init__(
        self,
        settings: Settings,
        *,
        kube: KubeApi,
        engine: Engine,
        lease: Lease | None,
        metrics: Metrics,
        recorder: EventRecorder,
        supervisor: Supervisor,
        stop: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._kube = kube
        self._engine = engine
        self._lease = lease
        self._recorder = recorder
        self._supervisor = supervisor
        self._stop = stop
        self._election: asyncio.Task[None] | None = None
        self._login = Login(on_watch_restart=metrics.note_watch_restart)
        self._health = HealthServer(
            settings.health_port,
            find_illness=self._find_illness,
            find_reason_to_wait=self._find_reason_to_wait,
            render_metrics=metrics.render,
        )
        self._closed = False

    async def run(self, *, on_kopf: Callable[[], None]) -> None:
        """Run until the stop flag. `on_kopf` is called when kopf has begun, and has claimed the signals."""
        try:
            if self._settings.health_port:
                await self._health.start()
            if await self._unless_stopped(self._look_around()):
                await self._run_kopf(on_kopf)
        except PortUnusable as error:
            raise StartupFailed(
                f"nothing can be served on port {self._settings.health_port}: {error};"
                " choose another one with --health-port, or 0 for none"
            ) from None
        finally:
            await self._close()
            asyncio.get_running_loop().set_exception_handler(stopping.forgive_generators)
        if self._supervisor.dead:
            raise StartupFailed(f"{self._find_illness()}; its traceback is in the log")

    def join_election(self) -> None:
        """Begin to want the Lease: not before all Pipelines are known, or it would be held for nothing."""
        if self._lease is not None:
            self._election = self._supervisor.spawn("lease", self._lease.run())

    async def _run_kopf(self, on_kopf: Callable[[], None]) -> None:
        registry = handlers.build_registry(self._engine, login=self._login, startup=self._start, cleanup=self._close)
        try:
            tasks = await kopf.spawn_tasks(
                registry=registry,
                settings=handlers.build_settings(),
                clusterwide=not self._settings.namespaces,
                namespaces=self._settings.namespaces,
                stop_flag=self._stop,
            )
            on_kopf()
            async with stopping.insisting(tasks):
                await kopf.run_tasks(tasks, ignored=stopping.AllTasks())
        except kopf.LoginError:
            raise StartupFailed(
                "the Kubernetes API does not accept the credentials of the kubeconfig or the service account (401),"
                " and there are no newer ones; log in again"
            ) from None
        except Exception as error:
            # kopf's own errors are private classes. It gives up after about a minute of refusals or server errors.
            raise StartupFailed(f"the Kubernetes API could not be watched: {error}") from None
        finally:
            # kopf has a task that waits for it.
            self._stop.set()

    async def _start(self) -> None:
        self._supervisor.spawn("events", self._recorder.run())
        self._engine.start()
        log.info("pipeline-approver %s has started", __version__)

    async def _close(self) -> None:
        """Finish what is in hand, and hand over. Called by kopf when its own tasks have ended, or for want of it."""
        if self._closed:
            return
        await self._engine.finish(timeout=FINISH_SECONDS)
        if self._election is not None and self._lease is not None:
            self._election.cancel()
            await asyncio.wait([self._election])
            await self._lease.release(timeout=RELEASE_SECONDS)
        await self._recorder.drain(timeout=EVENTS_SECONDS)
        await self._supervisor.close()
        await self._login.aclose()
        await self._health.close()
        self._closed = True

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do something that ends with the stop flag at the latest; whether it came to its own end."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                return False
            await working
            return True
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    async def _look_around(self) -> None:
        """Find out before anything else whether Pipelines exist here and may be listed, and the Lease be used."""
        for pause in (*FIRST_LOOK_PAUSES_SECONDS, None):
            try:
                await self._look_at_pipelines()
                await self._look_at_lease()
                return
            except kube_errors.KubeError as error:
                if pause is None:
                    raise StartupFailed(f"the Kubernetes API cannot be used: {error}") from None
                log.warning("the Kubernetes API cannot be used, trying again in %d s: %s", pause, error)
                await asyncio.sleep(pause)

    async def _look_at_pipelines(self) -> None:
        try:
            for namespace in self._settings.namespaces or (None,):
                await self._kube.list_pipelines(namespace)
        except kube_errors.NotFound:
            raise StartupFailed(
                f"the Kubernetes API knows no {KIND} in {GROUP}/{VERSION}; apply crds/pipelines.yaml first"
            ) from None
        except kube_errors.Forbidden as error:
            raise StartupFailed(f"the account of the operator may not list Pipelines: {error}") from None

    async def _look_at_lease(self) -> None:
        try:
            if self._lease is not None:
                await self._lease.check()
        except kube_errors.Forbidden as error:
            raise StartupFailed(
                f"the account of the operator may not use the Lease {LEASE_NAME} in namespace"
                f" {self._settings.lease_namespace}: {error}; apply deploy/base/030-rbac.yaml, or let every replica act"
                " with --leader-elect=false"
            ) from None

    def _find_illness(self) -> str:
        return f"the task {self._supervisor.dead!r} died" if self._supervisor.dead else ""

    def _find_reason_to_wait(self) -> str:
        if self._stop.is_set():
            return "stopping"
        return "" if self._engine.synced else "not all Pipelines are known yet"
