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

from pipeline_approver.core.change import clip
from pipeline_approver.kube import errors
from pipeline_approver.kube.api import FIELD_MANAGER, KubeApi

MOST_WAITING = 5000
MESSAGE_LENGTH = 1024
TRIES = 5
QUIET_FOR = datetime.timedelta(hours=1)
"""How long a missing permission is not logged again."""

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
        # A name that is cut must not end in what only stands inside names.
        return (
            f"{self.regarding.name[:200].rstrip('-.')}.{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}"
        )


class EventRecorder:
    """Takes Events at once, and posts them one after another in the background."""

    def __init__(
        self,
        kube: KubeApi,
        *,
        now: Callable[[], datetime.datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._kube = kube
        self._now = now
        self._sleep = sleep
        self._waiting: collections.deque[_Event] = collections.deque(maxlen=most_waiting)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._forbidden_logged: datetime.datetime | None = None
        self._overflowing = False

    def record(self, regarding: ObjectRef, *, type: str, reason: str, message: str, action: str) -> None:
        """Have an Event posted. Returns at once; of too many, the oldest are dropped."""
        if len(self._waiting) == self._waiting.maxlen and not self._overflowing:
            self._overflowing = True
            log.warning("more than %d Events wait to be posted; the oldest are dropped", self._waiting.maxlen)
        self._waiting.append(
            _Event(
                regarding=regarding,
                type=type,
                reason=reason,
                message=clip(message, MESSAGE_LENGTH),
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
            self._overflowing = False
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
                await self._post(event, again=attempt > 0)
                return
            except errors.Unavailable as error:
                await self._sleep(max(0.5 * 2**attempt, error.retry_after or 0.0))
            except errors.Forbidden as error:
                if self._forbidden_logged is None or event.at - self._forbidden_logged > QUIET_FOR:
                    self._forbidden_logged = event.at
                    log.warning("Events cannot be posted: %s", error)
                return
            except errors.KubeError as error:
                log.warning("an Event could not be posted: %s", error)
                return
        log.warning("an Event could not be posted after %d tries", TRIES)

    async def _post(self, event: _Event, *, again: bool) -> None:
        namespace, at = event.regarding.namespace, _stamp(event.at)
        try:
            await self._kube.create_event(namespace, _render(event))
        except errors.Conflict:
            try:
                known = await self._kube.get_event(namespace, event.name)
                if again and known.get("lastTimestamp") == at:
                    # The last try was carried out, and only its answer was lost.
                    return
                count = known.get("count")
                count = count + 1 if isinstance(count, int) else 2
                await self._kube.patch_event(namespace, event.name, {"count": count, "lastTimestamp": at})
            except errors.NotFound:
                # It has run out in between.
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
