"""The engine: takes in what the watch shows, keeps workers and feeds going, and finds what the watch missed."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline_approver.core.resource import Resource, parse_resource
from pipeline_approver.core.status import Status
from pipeline_approver.engine.cache import Cache, find_connection_key
from pipeline_approver.engine.connections import Connections
from pipeline_approver.engine.queue import Lane, WorkQueue
from pipeline_approver.engine.reconciler import Reconciler
from pipeline_approver.engine.supervisor import Supervisor
from pipeline_approver.engine.turns import AT_ONCE, Turns
from pipeline_approver.kube import errors as kube_errors
from pipeline_approver.kube.api import KubeApi

WORKERS = {Lane.URGENT: 8 * AT_ONCE, Lane.BACKGROUND: 4 * AT_ONCE}
"""As many as several connections keep that do not answer; most of them sleep."""
SYNC_CHECK_SECONDS = 0.1
SYNC_PATIENCE_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What an engine is made of."""

    cache: Cache
    queue: WorkQueue
    connections: Connections
    reconciler: Reconciler
    supervisor: Supervisor
    kube: KubeApi
    namespaces: tuple[str | None, ...]
    """The namespaces that are watched; a single None for all."""
    resync_seconds: float
    """How often to look for Pipelines that vanished, or were missed, while the watch was down."""


class Engine:
    """Everything between the watch and the two APIs."""

    def __init__(self, parts: Parts, *, on_synced: Callable[[], None] = lambda: None) -> None:
        self._parts = parts
        self._on_synced = on_synced
        self._in_hand: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._turns = Turns(parts.queue)
        self.synced = False
        """Whether all Pipelines are in the cache. Before that nothing is decided: an older twin may be missing."""

    def start(self) -> None:
        """Start working."""
        self._parts.supervisor.spawn("sync", self._sync())

    async def finish(self, *, timeout: float) -> None:
        """Take up nothing any more, and wait for what is in hand; what is not done by then is abandoned.

        An abandoned call is in the status as `Sending`, and whoever acts next finds out what became of it.
        """
        self._stopping = True
        if self._in_hand:
            log.info("finishing what is in hand: %d", len(self._in_hand))
            _, late = await asyncio.wait(self._in_hand, timeout=timeout)
            if late:
                log.warning("%d passes are not done in %g s and are abandoned", len(late), timeout)

    def observe(self, *, deleted: bool, manifest: Mapping[str, Any]) -> None:
        """Take in one event of the watch. Only remembers and enqueues: the next event waits for this."""
        cache, queue = self._parts.cache, self._parts.queue
        metadata = manifest["metadata"]
        entry = cache.get(f"{metadata['namespace']}/{metadata['name']}")
        version = metadata["uid"], metadata.get("resourceVersion")
        if entry is not None and not deleted and (entry.resource.uid, entry.resource.resource_version) == version:
            # What this process wrote itself comes back from the watch.
            return
        resource = parse_resource(manifest)
        if deleted:
            if entry is not None and entry.resource.uid == resource.uid:
                self._parts.reconciler.forget(resource.key)
            return
        before = entry.resource if entry is not None else None
        if not cache.observe(resource):
            return
        if before is not None and replace(before, resource_version="") == replace(resource, resource_version=""):
            return
        self._parts.connections.find(find_connection_key(resource))
        if before is not None and find_connection_key(before) != find_connection_key(resource):
            self._parts.connections.sweep()
        # Whom it displaces, or whom it no longer stands in the way of.
        names = {resource.pipeline_name} | ({before.pipeline_name} if before is not None else set())
        for other in sorted({resource.key}.union(*map(cache.namesakes, names))):
            urgent = other == resource.key and self.synced and not _differs_in_status_only(before, resource)
            queue.add(other, lane=Lane.URGENT if urgent else Lane.BACKGROUND)

    def enqueue_all(self) -> None:
        """Have every Pipeline looked at, in the background."""
        for key in self._parts.cache.all_keys():
            self._parts.queue.add(key)

    async def _sync(self) -> None:
        while missing := await self._find_missing():
            log.debug("waiting for %d Pipelines to be seen by the watch", len(missing))
            waited = 0.0
            while waited < SYNC_PATIENCE_SECONDS and self._is_missing(missing):
                await asyncio.sleep(SYNC_CHECK_SECONDS)
                waited += SYNC_CHECK_SECONDS
        self.synced = True
        log.info("all Pipelines are known: %d", len(self._parts.cache))
        self._on_synced()
        self._parts.connections.start()
        spawn = self._parts.supervisor.spawn
        for lane, count in WORKERS.items():
            for number in range(count):
                spawn(f"worker {lane.name.lower()} {number}", self._work(lane))
        spawn("resync", self._resync())

    async def _work(self, lane: Lane) -> None:
        queue = self._parts.queue
        me = asyncio.current_task()
        assert me is not None
        while not self._stopping:
            key = await queue.get(lane)
            self._in_hand.add(me)
            try:
                await self._reconcile(key, lane)
            except Exception:
                # A defect of ours must not end the worker, nor hold up other Pipelines.
                log.exception("%s: the pass failed unexpectedly, trying again", key)
                queue.retry(key)
            finally:
                self._in_hand.discard(me)
                queue.done(key)

    async def _reconcile(self, key: str, lane: Lane) -> None:
        """One pass, when it is the key's turn on its connection; else it comes again by itself."""
        entry = self._parts.cache.get(key)
        if entry is None:
            return
        connection = find_connection_key(entry.resource)
        if self._turns.take(connection, key, lane):
            try:
                await self._parts.reconciler.reconcile(key, lane)
            finally:
                self._turns.give_back(connection)

    async def _find_missing(self) -> dict[str, str]:
        """The Pipelines, uid to key, that exist and were not seen yet."""
        while True:
            try:
                listed = await self._list()
            except kube_errors.KubeError as error:
                log.warning("Pipelines could not be listed, trying again: %s", error)
                await asyncio.sleep(SYNC_PATIENCE_SECONDS)
            else:
                return {uid: key for uid, (key, _) in listed.items() if self._is_missing({uid: key})}

    def _is_missing(self, listed: Mapping[str, str]) -> bool:
        entries = ((uid, self._parts.cache.get(key)) for uid, key in listed.items())
        return any(entry is None or entry.resource.uid != uid for uid, entry in entries)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self._parts.resync_seconds)
            try:
                await self.resync()
            except kube_errors.KubeError as error:
                log.warning("Pipelines could not be listed, trying again later: %s", error)

    async def resync(self) -> None:
        """Forget Pipelines that vanished unseen, take in what was missed, and look at all again."""
        parts = self._parts
        known = {key: entry.resource.uid for key in parts.cache.all_keys() if (entry := parts.cache.get(key))}
        listed = {key: (uid, version) for uid, (key, version) in (await self._list()).items()}
        for key, uid in known.items():
            entry = parts.cache.get(key)
            # One that came, or came anew, after the list was made is not judged by it.
            if entry is not None and entry.resource.uid == uid and listed.get(key, ("",))[0] != uid:
                log.info("%s: vanished while the watch was down", key)
                parts.reconciler.forget(key)
        for key, version in listed.items():
            entry = parts.cache.get(key)
            if entry is None or (entry.resource.uid, entry.resource.resource_version) != version:
                namespace, name = key.split("/", 1)
                try:
                    self.observe(deleted=False, manifest=await parts.kube.get_pipeline(namespace, name))
                except kube_errors.NotFound:
                    continue
        self.enqueue_all()

    async def _list(self) -> dict[str, tuple[str, str]]:
        """Key and resource version of all Pipelines, by uid."""
        found: dict[str, tuple[str, str]] = {}
        for namespace in self._parts.namespaces:
            for uid, listed in (await self._parts.kube.list_pipelines(namespace)).items():
                found[uid] = (f"{listed.namespace}/{listed.name}", listed.resource_version)
        return found


def _differs_in_status_only(before: Resource | None, after: Resource) -> bool:
    """Whether another operator wrote, and no person."""
    if before is None:
        return False
    stripped = [replace(it, resource_version="", managers=(), status=Status()) for it in (before, after)]
    return stripped[0] == stripped[1]
