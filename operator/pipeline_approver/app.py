"""The composition root: builds the operator from its settings and runs it."""

import asyncio
import datetime
import gc
import logging
import os
import signal
from collections.abc import Callable, Mapping

import kopf

from pipeline_approver import __version__, handlers
from pipeline_approver.core.case import OneShot, Rules
from pipeline_approver.core.notes import Note
from pipeline_approver.core.resource import GROUP, KIND, VERSION, Resource
from pipeline_approver.core.status import Status
from pipeline_approver.engine.cache import Cache
from pipeline_approver.engine.connections import Connections, OpenClient
from pipeline_approver.engine.engine import Engine, Parts
from pipeline_approver.engine.pacer import Pacer
from pipeline_approver.engine.queue import WorkQueue
from pipeline_approver.engine.reconciler import Reconciler
from pipeline_approver.engine.supervisor import Supervisor
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import Connection, ConnectionInvalid, connection_from_environment
from pipeline_approver.kube import errors as kube_errors
from pipeline_approver.kube.api import KubeApi
from pipeline_approver.kube.events import EventRecorder, ObjectRef
from pipeline_approver.settings import Settings, SettingsInvalid

WRITES_PER_SECOND = 100.0
FIRST_LOOK_PAUSES_SECONDS = (1, 2, 5, 10, 20, 30)

log = logging.getLogger("pipeline_approver")


class StartupFailed(Exception):
    """The operator cannot work here; the message is for the person who runs it."""


async def run_operator(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    kube: KubeApi | None = None,
    stop_flag: asyncio.Event | None = None,
    ready_flag: asyncio.Event | None = None,
) -> None:
    """Run until SIGTERM, SIGINT or `stop_flag`. Raises SettingsInvalid or StartupFailed with what to do.

    `ready_flag` is set when all Pipelines are known and the first is looked at. Only one of signals and a
    `stop_flag` should end it: kopf waits five seconds for the other.
    """
    try:
        own = connection_from_environment(environ)
    except ConnectionInvalid as error:
        raise SettingsInvalid(str(error)) from None
    deaths: list[str] = []

    def die(task: str) -> None:
        deaths.append(task)
        if stop_flag is not None:
            stop_flag.set()
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        kube = kube or await KubeApi.connect()
    except kube_errors.KubeError as error:
        raise StartupFailed(str(error)) from None
    supervisor = Supervisor(on_death=die)
    try:
        await _look_around(kube, settings)
        recorder = EventRecorder(kube, now=_now)

        def settle_in() -> None:
            # What was loaded stays: the collector need not look through it again and again.
            gc.collect()
            gc.freeze()
            if ready_flag is not None:
                ready_flag.set()

        engine = build_engine(settings, own, kube, supervisor, recorder, on_synced=settle_in)

        async def startup() -> None:
            supervisor.spawn("events", recorder.run())
            engine.start()
            log.info("pipeline-approver %s has started", __version__)

        async def cleanup() -> None:
            await recorder.drain(timeout=2)
            await supervisor.close()

        await _run_kopf(
            settings, handlers.build_registry(engine, startup=startup, cleanup=cleanup), stop_flag=stop_flag
        )
    finally:
        await supervisor.close()
        await kube.aclose()
    if deaths:
        raise StartupFailed(f"the task {deaths[0]!r} died; its traceback is in the log")
    log.info("pipeline-approver has stopped")


async def _run_kopf(settings: Settings, registry: kopf.OperatorRegistry, *, stop_flag: asyncio.Event | None) -> None:
    endpoint = f"http://0.0.0.0:{settings.health_port}/healthz" if settings.health_port else None
    try:
        await kopf.operator(
            registry=registry,
            settings=handlers.build_settings(),
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            liveness_endpoint=endpoint,
            stop_flag=stop_flag,
        )
    except OSError as error:
        raise StartupFailed(
            f"port {settings.health_port} cannot be served ({error.strerror}); see --health-port"
        ) from None
    except Exception as error:
        # kopf's own errors are private classes. It gives up after about a minute of refusals or server errors.
        raise StartupFailed(f"the Kubernetes API could not be watched: {error}") from None


async def _look_around(kube: KubeApi, settings: Settings) -> None:
    """Find out before anything else whether Pipelines exist here and may be listed."""
    for pause in (*FIRST_LOOK_PAUSES_SECONDS, None):
        try:
            for namespace in settings.namespaces or (None,):
                await kube.list_pipeline_uids(namespace)
            return
        except kube_errors.NotFound:
            raise StartupFailed(
                f"the Kubernetes API knows no {KIND} in {GROUP}/{VERSION}; apply crds/pipelines.yaml first"
            ) from None
        except kube_errors.Forbidden as error:
            raise StartupFailed(f"the account of the operator may not list Pipelines: {error}") from None
        except kube_errors.KubeError as error:
            if pause is None:
                raise StartupFailed(f"the Kubernetes API cannot be used: {error}") from None
            log.warning("the Kubernetes API cannot be used, trying again in %d s: %s", pause, error)
            await asyncio.sleep(pause)


def build_engine(
    settings: Settings,
    own: Connection | None,
    kube: KubeApi,
    supervisor: Supervisor,
    recorder: EventRecorder,
    *,
    on_synced: Callable[[], None],
    open_client: OpenClient | None = None,
    now: Callable[[], datetime.datetime] | None = None,
) -> Engine:
    """The engine and all its parts; `open_client` and `now` replace the ways to Feldera and to the clock."""
    cache, queue = Cache(), WorkQueue()

    def open_real_client(connection: Connection) -> FelderaClient:
        return FelderaClient(
            connection,
            approve_timeout_seconds=settings.approve_timeout_seconds,
            user_agent=f"pipeline-approver/{__version__}",
        )

    def observe(resource: Resource, before: Status, happened: list[Note]) -> None:
        for note in happened:
            level = logging.WARNING if note.warning else logging.INFO
            log.log(level, "%s", note.message, extra={"pipeline": resource.key, "reason": note.reason})
            recorder.record(
                _refer_to(resource),
                type="Warning" if note.warning else "Normal",
                reason=note.reason,
                message=note.message,
                action="Approve",
            )

    connections = Connections(
        cache=cache,
        queue=queue,
        own=own,
        own_namespaces=settings.own_connection_namespaces,
        read_secret=kube.read_secret,
        open_client=open_client or open_real_client,
        spawn=supervisor.spawn,
        interval_seconds=settings.poll_interval_seconds,
    )
    reconciler = Reconciler(
        cache=cache,
        queue=queue,
        connections=connections,
        kube=kube,
        rules=Rules(one_shot=OneShot(settings.one_shot), settle=datetime.timedelta(seconds=settings.settle_seconds)),
        now=now or _now,
        may_act=lambda: True,
        pace=Pacer(rate=WRITES_PER_SECOND, burst=50).wait,
        observer=observe,
        approve_timeout=datetime.timedelta(seconds=settings.approve_timeout_seconds),
    )
    parts = Parts(
        cache=cache,
        queue=queue,
        connections=connections,
        reconciler=reconciler,
        supervisor=supervisor,
        kube=kube,
        namespaces=settings.namespaces or (None,),
    )
    return Engine(parts, on_synced=on_synced)


def _refer_to(resource: Resource) -> ObjectRef:
    return ObjectRef(
        api_version=f"{GROUP}/{VERSION}",
        kind=KIND,
        namespace=resource.namespace,
        name=resource.name,
        uid=resource.uid,
        resource_version=resource.resource_version,
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
