"""Which of several replicas acts: the one that holds a Lease and renews it.

As in client-go, nobody compares clocks. A replica that wants the Lease waits until its holder has not renewed it for
the holder's lease duration, measured here, from the moment at which the last renewal was seen. The holder counts from
before it sent its last successful renewal, and stops acting after the shorter renew deadline; so a process that was
frozen knows when it wakes, before it asks anybody, that it must not act. Nothing is ever approved twice even if two
believe that they hold the Lease: that is what the conditional writes are for.
"""

import asyncio
import contextlib
import datetime
import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline_approver.kube import errors
from pipeline_approver.kube.api import KubeApi, Manifest
from pipeline_approver.kube.events import ObjectRef

API_VERSION = "coordination.k8s.io/v1"
JITTER = 0.2

log = logging.getLogger(__name__)

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def read_clock() -> float:
    """Seconds that also pass while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(_CLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds, each longer than the next."""

    duration: float = 15.0
    """How long others wait after the last renewal that they saw."""
    renew_deadline: float = 10.0
    """How long the holder acts after its last renewal."""
    retry_period: float = 2.0
    """Between two attempts, to renew as well as to acquire."""


class Lease:
    """One replica's part in the election."""

    def __init__(
        self,
        kube: KubeApi,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: Timing,
        now: Callable[[], datetime.datetime],
        on_change: Callable[[bool, str], None],
        clock: Callable[[], float] = read_clock,
    ) -> None:
        """`on_change` is told when this replica begins or ceases to hold the Lease, with the words of the log."""
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._timing = timing
        self._now = now
        self._on_change = on_change
        self._clock = clock
        self._manifest: Manifest | None = None
        self._seen_at = 0.0
        self._acting_until = -math.inf
        self._announced = False
        self._complaint = ""

    def is_held(self) -> bool:
        """Whether this replica may act at this very moment."""
        return self._clock() < self._acting_until

    async def check(self) -> None:
        """Find out whether the Lease may be read; raises KubeError."""
        try:
            await self._kube.get_lease(self._namespace, self._name)
        except errors.NotFound:
            return

    async def run(self) -> None:
        """Acquire and renew for ever."""
        while True:
            await self.attempt()
            await asyncio.sleep(self._timing.retry_period * random.uniform(1, 1 + JITTER))  # noqa: S311 - spreads load

    async def attempt(self) -> None:
        """Try once to acquire or renew the Lease."""
        try:
            async with asyncio.timeout(self._timing.renew_deadline / 2):
                await self._acquire_or_renew()
        except errors.Conflict:
            # Another replica was faster; the next attempt sees it.
            log.debug("the Lease %s/%s was written by somebody else", self._namespace, self._name)
        except TimeoutError:
            self._complain("no answer in time")
        except errors.KubeError as error:
            self._complain(str(error))
        else:
            self._complaint = ""
        self._announce()

    async def release(self, *, timeout: float) -> None:
        """Cease to act, and give the Lease back so that another replica need not wait. Attempts must have ended."""
        self._acting_until = -math.inf
        self._announce("it is given back")
        try:
            async with asyncio.timeout(timeout):
                await self._give_back()
        except errors.NotFound:
            return
        except (errors.KubeError, TimeoutError) as error:
            why = str(error) or "no answer in time"
            log.warning("the Lease could not be given back, so the next replica waits for its end: %s", why)

    async def _give_back(self) -> None:
        manifest, self._manifest = self._manifest, None
        while manifest is not None and _holder(manifest) == self._identity:
            spec = {**manifest["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._stamp()}
            try:
                manifest = await self._kube.update_lease(self._namespace, {**manifest, "spec": spec})
            except errors.Conflict:
                manifest = await self._kube.get_lease(self._namespace, self._name)

    def refer(self) -> ObjectRef:
        """What Events about the election are about."""
        metadata = (self._manifest or {}).get("metadata", {})
        return ObjectRef(
            api_version=API_VERSION,
            kind="Lease",
            namespace=self._namespace,
            name=self._name,
            uid=metadata.get("uid", ""),
        )

    async def _acquire_or_renew(self) -> None:
        if self._manifest is not None and self.is_held():
            # The holder knows the Lease as it last wrote it, and need not read it first.
            with contextlib.suppress(errors.Conflict, errors.NotFound):
                await self._write(self._manifest)
                return
        try:
            self._see(await self._kube.get_lease(self._namespace, self._name))
        except errors.NotFound:
            self._manifest = None
        if self._is_taken():
            self._acting_until = -math.inf
        else:
            await self._write(self._manifest)

    def _is_taken(self) -> bool:
        """Whether another replica holds the Lease, and has not been silent for too long."""
        if self._manifest is None or _holder(self._manifest) in ("", self._identity):
            return False
        seconds = (self._manifest.get("spec") or {}).get("leaseDurationSeconds")
        patience = seconds if isinstance(seconds, int) and seconds > 0 else self._timing.duration
        return self._clock() < self._seen_at + patience

    async def _write(self, before: Manifest | None) -> None:
        """Create the Lease, or replace it as it was seen, with this replica as the holder."""
        started, moment = self._clock(), self._stamp()
        old: dict[str, Any] = (before or {}).get("spec") or {}
        spec = {
            **old,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": math.ceil(self._timing.duration),
            "renewTime": moment,
        }
        if old.get("holderIdentity") != self._identity:
            spec["acquireTime"] = moment
            spec["leaseTransitions"] = (old.get("leaseTransitions") or 0) + 1 if before else 0
        if before is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            manifest = {"apiVersion": API_VERSION, "kind": "Lease", "metadata": metadata, "spec": spec}
            self._see(await self._kube.create_lease(self._namespace, manifest))
        else:
            self._see(await self._kube.update_lease(self._namespace, {**before, "spec": spec}))
        # Where the time had run out before this answer came, that is said first: work was left undone meanwhile.
        self._announce()
        self._acting_until = started + self._timing.renew_deadline

    def _see(self, manifest: Manifest) -> None:
        """Take in the Lease; its holder's time starts anew if it was written since."""
        if self._manifest is None or self._manifest.get("spec") != manifest.get("spec"):
            self._seen_at = self._clock()
        self._manifest = manifest

    def _announce(self, why: str = "") -> None:
        if self.is_held() == self._announced:
            return
        self._announced = self.is_held()
        expected = self._announced or bool(why)
        if self._announced:
            message = f"{self._identity} holds the Lease, and acts"
        else:
            holder = _holder(self._manifest or {})
            if not why:
                lost = holder not in ("", self._identity)
                why = f"{holder} has taken it over" if lost else "it could not be renewed in time"
            message = f"{self._identity} no longer holds the Lease, and has stopped acting: {why}"
        log.log(logging.INFO if expected else logging.WARNING, "%s", message)
        self._on_change(self._announced, message)

    def _complain(self, problem: str) -> None:
        # Once per kind of failure: it is tried again every other second.
        level = logging.DEBUG if problem == self._complaint else logging.WARNING
        self._complaint = problem
        log.log(level, "the Lease %s/%s could not be used, trying on: %s", self._namespace, self._name, problem)

    def _stamp(self) -> str:
        return self._now().astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _holder(manifest: Manifest) -> str:
    return (manifest.get("spec") or {}).get("holderIdentity") or ""
