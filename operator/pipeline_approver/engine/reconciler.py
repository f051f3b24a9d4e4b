"""One Pipeline, one pass: observe, decide, record, verify, act, settle.

A pass is level-based: it is given a key, looks at what is, and does what follows. Nothing is acted upon that is not
recorded in the status first, and the record is a conditional write: whoever loses the race decides anew.
"""

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline_approver.core import decision as decisions
from pipeline_approver.core import notes
from pipeline_approver.core.case import Act, Case, Problem, ReadCheckpoint, ReadProgram, RequestCheckpoint, Rules
from pipeline_approver.core.follow import measure_pause
from pipeline_approver.core.observation import PipelineView
from pipeline_approver.core.resource import Resource, parse_resource
from pipeline_approver.core.settle import Answer, NotApplied, settle
from pipeline_approver.core.status import Status
from pipeline_approver.core.statusjson import build_merge_patch, render_status
from pipeline_approver.core.times import Moment
from pipeline_approver.engine import calls
from pipeline_approver.engine.cache import Cache, Entry, find_connection_key
from pipeline_approver.engine.connections import Connections
from pipeline_approver.engine.feed import Feed
from pipeline_approver.engine.queue import Lane, WorkQueue
from pipeline_approver.feldera import errors as feldera_errors
from pipeline_approver.kube import errors as kube_errors
from pipeline_approver.kube.api import KubeApi

STEPS_PER_PASS = 8
"""Decisions in one pass; what is left goes to the end of the queue, so that no key holds up the others."""

log = logging.getLogger(__name__)

Call = Act | RequestCheckpoint | ReadCheckpoint


class Observer(Protocol):
    """Is told of every transition once it is recorded, for Events, logs and metrics. Must not block or raise."""

    def __call__(self, resource: Resource, before: Status, happened: list[notes.Note]) -> None: ...


class NotActing(Exception):
    """This replica does not act (any more): nothing is recorded, and whoever acts decides by itself."""


class RecordLost(Exception):
    """The API server took a status but did not keep it: nothing may be acted upon."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A call whose answer is known while its outcome could not be recorded yet."""

    action: Call
    answer: Answer


class Reconciler:
    """Carries out what `decide` says."""

    def __init__(
        self,
        *,
        cache: Cache,
        queue: WorkQueue,
        connections: Connections,
        kube: KubeApi,
        rules: Rules,
        now: Callable[[], Moment],
        may_begin: Callable[[], bool],
        may_act: Callable[[], bool],
        pace: Callable[[], Awaitable[None]],
        observer: Observer,
        count_call: Callable[[Answer], None],
        approve_timeout: datetime.timedelta,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._connections = connections
        self._kube = kube
        self._rules = rules
        self._now = now
        self._may_begin = may_begin
        self._may_act = may_act
        self._pace = pace
        self._observer = observer
        self._count_call = count_call
        self._unsettled: dict[str, Unsettled] = {}
        # A call may start only so long after its record that it is over when the record counts it as over.
        self._start_within = (rules.settle - approve_timeout).total_seconds()

    async def reconcile(self, key: str, lane: Lane) -> None:
        """Look at one Pipeline and do what follows. Failures are logged and tried again later."""
        try:
            await self._pass(key, lane)
        except NotActing:
            log.debug("%s: left to the replica that acts", key)
        except kube_errors.KubeError as error:
            log.warning("%s: the Kubernetes API could not be used, trying again: %s", key, error)
            self._queue.retry(key)
        except RecordLost as error:
            log.error("%s: %s", key, error)
            self._queue.retry(key)
        else:
            self._queue.succeed(key)

    def _forget_old(self, resource: Resource) -> None:
        """Drop a Pipeline that was not found; one that was created in its place meanwhile stays."""
        entry = self._cache.get(resource.key)
        if entry is not None and entry.resource.uid == resource.uid:
            self.forget(resource.key)

    def forget(self, key: str) -> None:
        """Drop a Pipeline that no longer exists; one that it had priority over is looked at again."""
        entry = self._cache.get(key)
        if entry is None:
            return
        self._cache.forget(key)
        self._queue.forget(key)
        self._unsettled.pop(key, None)
        for twin in sorted(self._cache.namesakes(entry.resource.pipeline_name)):
            self._queue.add(twin)
        self._connections.sweep()

    async def _pass(self, key: str, lane: Lane) -> None:
        for _ in range(STEPS_PER_PASS):
            entry = self._cache.get(key)
            # What is known to have happened is recorded even by a replica that may begin nothing any more: the
            # write is conditional, and spares its successor from having to find out.
            if entry is None or (not (self._may_begin() and self._may_act()) and key not in self._unsettled):
                return
            feed = self._connections.find(find_connection_key(entry.resource))
            case = self._build_case(entry, feed)
            if case.observation.program_problem is not None:
                self._queue.add_later(key, seconds=feed.find_program_retry(case.resource.pipeline_name))
            try:
                done = await self._step(case, feed, lane)
            except kube_errors.Conflict:
                # Somebody changed the Pipeline: decide anew from what it is now.
                done = not await self._refresh(case.resource)
            except kube_errors.NotFound:
                done = True
                self._forget_old(case.resource)
            if done:
                return
        self._queue.add(key)

    async def _step(self, case: Case, feed: Feed, lane: Lane) -> bool:
        """Decide once and carry it out; whether the pass is over."""
        key = case.resource.key
        if key in self._unsettled:
            await self._record_answer(case)
            return False
        plan = decisions.decide(case)
        started = asyncio.get_running_loop().time()
        resource = case.resource
        if plan.status != case.status:
            if lane is Lane.BACKGROUND and not isinstance(plan.action, Act):
                await self._pace()
            if not self._may_act():
                raise NotActing
            resource = await self._record(case.resource, plan.status)
        if plan.recheck_at is not None:
            self._queue.add_later(key, seconds=(plan.recheck_at - case.now).total_seconds())
        action = plan.action
        if action is None:
            # What was just recorded may be reason for the next step: the pass is over when nothing follows any more.
            return plan.status == case.status
        if not self._may_act() and not isinstance(action, Act):
            raise NotActing
        if isinstance(action, ReadProgram):
            return not await self._read_program(resource, feed)
        self._unsettled[key] = Unsettled(action, await self._call(action, resource, feed, started))
        if isinstance(action, ReadCheckpoint):
            await self._record_answer(replace(case, resource=resource, now=self._now()))
            return True
        return False

    async def _call(self, action: Call, resource: Resource, feed: Feed, started: float) -> Answer:
        client, name = feed.client, resource.pipeline_name
        if client is None:
            return NotApplied(message="not sent: the connection is being opened")
        match action:
            case Act():
                loop = asyncio.get_running_loop()
                began = loop.time()
                return await calls.send(
                    client,
                    action,
                    name=name,
                    program=feed.find_program(action.pipeline_id, action.deployment_id),
                    in_time=lambda: self._may_act() and loop.time() - started <= self._start_within,
                    learn=lambda view: feed.update(name, view, began=began),
                    count=self._count_call,
                )
            case RequestCheckpoint():
                return await calls.request_checkpoint(client, name)
            case ReadCheckpoint():
                return await calls.read_checkpoint(client, name, action)

    async def _record_answer(self, case: Case) -> None:
        """Write what an answer makes of the status. It stays noted until it is written, or pointless."""
        key = case.resource.key
        unsettled = self._unsettled[key]
        status = settle(case, unsettled.action, unsettled.answer)
        if status != case.status:
            await self._record(case.resource, status)
        self._unsettled.pop(key, None)

    async def _record(self, resource: Resource, status: Status) -> Resource:
        """Write a status, on the condition that the Pipeline is still as it was read."""
        known = self._cache.get(resource.key)
        told_at = known.told_at if known is not None else None
        patch = build_merge_patch(render_status(resource.status), render_status(status))
        written = parse_resource(
            await self._kube.patch_status(
                resource.namespace, resource.name, resource_version=resource.resource_version, status=patch
            )
        )
        if written.uid != resource.uid:
            raise kube_errors.NotFound(f"{resource.key} was deleted and created again", status=404, reason="NotFound")
        entry = self._cache.observe_own(written, told_at=told_at)
        if entry is not None and written.status.decision not in (None, resource.status.decision):
            assert written.status.decision is not None
            pause = measure_pause(written.status.decision, now=self._now(), rules=self._rules, own=True)
            entry.pause_until = asyncio.get_running_loop().time() + pause.total_seconds()
        if (written.status.decision, written.status.handled) != (status.decision, status.handled):
            raise RecordLost(
                "the API server did not keep what was written into the status, so nothing is acted upon;"
                " apply the CustomResourceDefinition that belongs to this version of the operator"
            )
        self._observer(written, resource.status, notes.describe_transition(resource.status, written.status))
        return written

    async def _refresh(self, resource: Resource) -> bool:
        """Read a Pipeline again. False when it has gone meanwhile: the answer may be older than the word of that."""
        try:
            fresh = parse_resource(await self._kube.get_pipeline(resource.namespace, resource.name))
        except kube_errors.NotFound:
            self._forget_old(resource)
            return False
        if self._cache.get(resource.key) is None:
            return False
        self._cache.observe(fresh)
        return True

    async def _read_program(self, resource: Resource, feed: Feed) -> bool:
        """Read a program. False when there is no connection just now: the next poll gives another occasion."""
        name, client, began = resource.pipeline_name, feed.client, asyncio.get_running_loop().time()
        if client is None:
            feed.await_news(name)
            return False
        try:
            view, program = await client.get_program(name)
        except feldera_errors.NotFound:
            feed.update(name, None, began=began)
        except feldera_errors.FelderaError as error:
            problem = Problem(reason="ProgramUnreadable", message=f"the program could not be read: {error}")
            feed.fail_program(name, problem)
        else:
            feed.update(name, view, began=began)
            feed.learn_program(view, program)
        return True

    def _build_case(self, entry: Entry, feed: Feed) -> Case:
        resource = entry.resource
        observation = feed.observe(resource.pipeline_name)
        refusal = self._connections.refuse(find_connection_key(resource), resource.namespace)
        if refusal is not None:
            observation = replace(observation, problem=refusal)
        twins, strangers = self._find_twins(resource, observation.view)
        ruler = min(twins, key=self._find_age)
        is_news = feed.is_current(resource.pipeline_name, since=entry.told_at)
        # One that is not known yet may turn out to rule.
        is_news = is_news and not any(self._find_age(it) < self._find_age(resource.key) for it in strangers)
        if not is_news:
            feed.await_news(resource.pipeline_name)
        return Case(
            resource=resource,
            observation=observation,
            now=self._now(),
            rules=self._rules,
            duplicate_of="" if ruler == resource.key else ruler,
            released=entry.released,
            is_news=is_news,
            pause=self._measure_pause(entry),
        )

    def _measure_pause(self, entry: Entry) -> datetime.timedelta:
        """What is left of the pause of the recorded decision, by a clock that nobody sets."""
        decision, loop_now = entry.resource.status.decision, asyncio.get_running_loop().time()
        if decision is None:
            return datetime.timedelta()
        if entry.pause_until is None:
            seen = self._now() - datetime.timedelta(seconds=loop_now - entry.decided_at)
            pause = measure_pause(decision, now=seen, rules=self._rules, own=False)
            entry.pause_until = entry.decided_at + pause.total_seconds()
        return datetime.timedelta(seconds=max(0.0, entry.pause_until - loop_now))

    def _find_twins(self, resource: Resource, view: PipelineView | None) -> tuple[set[str], set[str]]:
        """The Pipelines that stand for the same Feldera pipeline, this one too; and those that may, for all we know.

        On the same connection the same name is the same pipeline; on two, the id tells.
        """
        own, twins, strangers = find_connection_key(resource), {resource.key}, set()
        for key in self._cache.namesakes(resource.pipeline_name) - twins:
            entry = self._cache.get(key)
            assert entry is not None
            other = find_connection_key(entry.resource)
            feed = self._connections.peek(other)
            if other == own:
                twins.add(key)
            elif feed is None or not feed.was_asked:
                strangers.add(key)
            elif view is not None and (its := feed.observe(resource.pipeline_name).view) and its.id == view.id:
                twins.add(key)
        return twins, strangers

    def _find_age(self, key: str) -> tuple[str, str]:
        entry = self._cache.get(key)
        assert entry is not None
        created = entry.resource.created_at
        # The uid settles two of the same second, the same way in every operator.
        return (created.isoformat() if created else "", entry.resource.uid)
