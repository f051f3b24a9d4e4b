"""Kubernetes Events: one per transition, the same one again only counted. They never hold anything up."""

import asyncio
import collections
import contextlib
import datetime
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pipeline_approver.kube import errors
from pipeline_approver.kube.api import FIELD_MANAGER, KubeApi

MOST_WAITING = 5000
MESSAGE_LENGTH = 1024
TRIES = 5
SAME_FOR = datetime.timedelta(hours=1)
"""How long a repeated Event is counted instead of created again: the API server keeps Events that long."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRef:
    """What an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    regarding: ObjectRef
    type: str
    reason: str
    message: str
    action: str
    at: datetime.datetime

    @property
    def name(self) -> str:
        """The same for the same Event, so that a restarted operator finds it."""
        parts = (self.regarding.uid, self.type, self.reason, self.message)
        return f"{self.regarding.name[:200]}.{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"


class EventRecorder:
    """Takes Events at once, and posts them one after another in the background."""

    def __init__(
        self,
        kube: KubeApi,
        *,
        now: Callable[[], datetime.datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._kube = kube
        self._now = now
        self._sleep = sleep
        self._waiting: collections.deque[_Event] = collections.deque(maxlen=MOST_WAITING)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._forbidden_logged: datetime.datetime | None = None

    def record(self, regarding: ObjectRef, *, type: str, reason: str, message: str, action: str) -> None:
        """Have an Event posted. Returns at once; of too many, the oldest are dropped."""
        if len(self._waiting) == MOST_WAITING:
            log.warning("too many Events wait to be posted; the oldest is dropped")
        self._waiting.append(
            _Event(
                regarding=regarding,
                type=type,
                reason=reason,
                message=message[:MESSAGE_LENGTH],
                action=action,
                at=self._now(),
            )
        )
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Post for ever."""
        while True:
            while self._waiting:
                await self._deliver(self._waiting.popleft())
            self._idle.set()
            self._wake.clear()
            await self._wake.wait()

    async def drain(self, *, timeout: float) -> None:
        """Wait until all are posted, or for `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout)

    async def _deliver(self, event: _Event) -> None:
        for attempt in range(TRIES):
            try:
                await self._post(event)
                return
            except errors.Unavailable as error:
                await self._sleep(max(0.5 * 2**attempt, error.retry_after or 0.0))
            except errors.Forbidden as error:
                if self._forbidden_logged is None or event.at - self._forbidden_logged > SAME_FOR:
                    self._forbidden_logged = event.at
                    log.warning("Events cannot be posted: %s", error)
                return
            except errors.KubeError as error:
                log.warning("an Event could not be posted: %s", error)
                return
        log.warning("an Event could not be posted after %d tries", TRIES)

    async def _post(self, event: _Event) -> None:
        namespace = event.regarding.namespace
        try:
            await self._kube.create_event(namespace, _render(event))
        except errors.Conflict:
            known = await self._kube.get_event(namespace, event.name)
            patch = {"count": int(known.get("count") or 1) + 1, "lastTimestamp": _stamp(event.at)}
            try:
                await self._kube.patch_event(namespace, event.name, patch)
            except errors.NotFound:
                await self._kube.create_event(namespace, _render(event))


def _render(event: _Event) -> dict[str, Any]:
    regarding = event.regarding
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event.name, "namespace": regarding.namespace},
        "involvedObject": {
            "apiVersion": regarding.api_version,
            "kind": regarding.kind,
            "namespace": regarding.namespace,
            "name": regarding.name,
            "uid": regarding.uid,
            "resourceVersion": regarding.resource_version,
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message,
        "action": event.action,
        "count": 1,
        "firstTimestamp": _stamp(event.at),
        "lastTimestamp": _stamp(event.at),
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "reportingInstance": FIELD_MANAGER,
    }


def _stamp(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
