"""The composition root: builds the operator from its settings and runs it."""

import asyncio
import datetime
import gc
import logging
import secrets
import socket
import time
from collections.abc import Callable, Mapping

from pipeline_approver import __version__
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
from pipeline_approver.kube.lease import Lease, Timing
from pipeline_approver.life import LEASE_NAME, Life, StartupFailed
from pipeline_approver.metrics import Metrics
from pipeline_approver.settings import Settings, SettingsInvalid
from pipeline_approver.signals import StopSignals

WRITES_PER_SECOND = 200.0
WRITES_AT_ONCE = 1000
STUCK_AFTER_SETTLES = 2
"""A decision counts as stuck after so many settle times: by then a call that was not answered has been judged."""

log = logging.getLogger("pipeline_approver")


async def run_operator(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    kube: KubeApi | None = None,
    stop_flag: asyncio.Event | None = None,
    ready_flag: asyncio.Event | None = None,
) -> None:
    """Run until `stop_flag`; without one, until SIGTERM or SIGINT. Raises SettingsInvalid or StartupFailed.

    The message of both says what to do. `ready_flag` is set when all Pipelines are known and the first is looked at.
    """
    stop = stop_flag or asyncio.Event()
    signals = StopSignals(stop) if stop_flag is None else None
    if signals is not None:
        signals.claim()
    try:
        own = connection_from_environment(environ)
    except ConnectionInvalid as error:
        raise SettingsInvalid(str(error)) from None
    try:
        kube = kube or await KubeApi.connect()
    except kube_errors.KubeError as error:
        raise StartupFailed(str(error)) from None
    supervisor = Supervisor(on_death=lambda _: stop.set())
    recorder = EventRecorder(kube, now=_now)
    metrics = build_metrics(settings)
    lease = build_lease(settings, environ, kube, recorder, on_gained=lambda: engine.enqueue_all())

    def settle_in() -> None:
        # What was loaded stays: the collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        life.join_election()
        if ready_flag is not None:
            ready_flag.set()

    engine = build_engine(
        settings,
        own,
        kube,
        supervisor,
        recorder,
        on_synced=settle_in,
        metrics=metrics,
        may_begin=lambda: not stop.is_set(),
        may_act=lease.is_held if lease is not None else lambda: True,
    )
    life = Life(
        settings,
        kube=kube,
        engine=engine,
        lease=lease,
        metrics=metrics,
        recorder=recorder,
        supervisor=supervisor,
        stop=stop,
    )
    try:
        await life.run(on_kopf=signals.claim if signals is not None else lambda: None)
    finally:
        await kube.aclose()
    log.info("pipeline-approver has stopped")


def build_metrics(settings: Settings) -> Metrics:
    """The metrics of one operator."""
    stuck_after = STUCK_AFTER_SETTLES * settings.settle_seconds
    return Metrics(version=__version__, now=_now, clock=time.monotonic, stuck_after_seconds=stuck_after)


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
    metrics: Metrics | None = None,
    may_begin: Callable[[], bool] = lambda: True,
    may_act: Callable[[], bool] = lambda: True,
) -> Engine:
    """The engine and all its parts; `open_client` and `now` replace the ways to Feldera and to the clock."""
    meter = metrics or build_metrics(settings)
    cache, queue = Cache(track=meter.track), WorkQueue()

    def open_real_client(connection: Connection) -> FelderaClient:
        return FelderaClient(
            connection,
            approve_timeout_seconds=settings.approve_timeout_seconds,
            user_agent=f"pipeline-approver/{__version__}",
            on_error=lambda error: meter.note_error(error.status, error.reason),
        )

    def observe(resource: Resource, before: Status, happened: list[Note]) -> None:
        meter.note_transition(resource, before, happened)
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
        meter=meter,
    )
    reconciler = Reconciler(
        cache=cache,
        queue=queue,
        connections=connections,
        kube=kube,
        rules=Rules(one_shot=OneShot(settings.one_shot), settle=datetime.timedelta(seconds=settings.settle_seconds)),
        now=now or _now,
        may_begin=may_begin,
        may_act=may_act,
        pace=Pacer(rate=WRITES_PER_SECOND, burst=WRITES_AT_ONCE).wait,
        observer=observe,
        count_call=meter.note_call,
        approve_timeout=datetime.timedelta(seconds=settings.approve_timeout_seconds),
    )
    meter.expose(leads=may_act, poll_ages=lambda: {feed.label: feed.age for _, feed in connections.items()})
    parts = Parts(
        cache=cache,
        queue=queue,
        connections=connections,
        reconciler=reconciler,
        supervisor=supervisor,
        kube=kube,
        namespaces=settings.namespaces or (None,),
        resync_seconds=settings.resync_seconds,
    )
    return Engine(parts, on_synced=on_synced)


def build_lease(
    settings: Settings,
    environ: Mapping[str, str],
    kube: KubeApi,
    recorder: EventRecorder,
    *,
    on_gained: Callable[[], None],
) -> Lease | None:
    """The Lease, where this operator is one of several that take turns."""
    if not settings.leader_elect:
        return None

    def tell(holds: bool, message: str) -> None:
        recorder.record(
            lease.refer(), type="Normal", reason="LeaderElection", message=message, action="Lead" if holds else "Follow"
        )
        if holds:
            on_gained()

    lease = Lease(
        kube,
        namespace=settings.lease_namespace,
        name=LEASE_NAME,
        # The random part tells a restarted container from the one before.
        identity=f"{environ.get('POD_NAME') or socket.gethostname()}_{secrets.token_hex(4)}",
        timing=Timing(
            duration=settings.lease_duration_seconds,
            renew_deadline=settings.lease_renew_deadline_seconds,
            retry_period=settings.lease_retry_period_seconds,
        ),
        now=_now,
        on_change=tell,
    )
    return lease


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
