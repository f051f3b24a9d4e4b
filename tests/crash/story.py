"""One decision about one pipeline, led to a point and from there to its end; and what must be true of that end."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crash.points import ACTS, LIST, Place, Point, plan_of
from support import processes
from support.processes import Operator
from support.stage import PATIENCE_SECONDS, Stage

NAME = "orders"
TOKEN = "true@1"
TOLD_ONCE = ("ApprovalRequired", "Approved", "Rejected", "Bootstrapped", "Stopped", "CheckpointComplete")
TIMES = ("--poll-interval", "0.1", "--approve-timeout", "2", "--settle-time", "4", "--health-port", "0")
"""Short, and with room for a busy machine: a call that timed out would rightly be made again."""


class Story:
    """One decision on one stage."""

    def __init__(self, stage: Stage, folder: Path, *, act: str = "approve") -> None:
        self.stage = stage
        self.act = act
        self._folder = folder
        self._logs = 0
        self.deployment_id: str | None = None

    def operator(self, *arguments: str) -> Any:
        """One more operator, as a context manager."""
        self._logs += 1
        log = self._folder / f"operator-{self._logs}.log"
        environ = {**os.environ, **self.stage.environ, **processes.ENVIRON}
        scope = ("--namespace", self.stage.kube.namespace) if hasattr(self.stage.kube, "namespace") else ()
        return processes.running((*TIMES, *scope, *arguments), environ, log)

    async def begin(self) -> None:
        """The pipeline asks, and there is a Pipeline for it."""
        self.stage.feldera.add(NAME)
        self.deployment_id = self.stage.feldera.ask(NAME)
        self.stage.create(NAME)
        await self.stage.request(NAME)

    async def lead_to(self, point: Point) -> Any:
        """Decide, and hold the operator at the point; the answer lets it go on."""
        held = self._hold(point.way[0])
        self.stage.annotate(NAME, **{self.act: TOKEN})
        await self._catch(held, point.way[0])
        for place in point.way[1:]:
            following = self._hold(place)
            held.release()
            held = following
            await self._catch(held, place)
        return held

    def _hold(self, place: Place) -> Any:
        return plan_of(self.stage, place).hold(place.match, where=place.where)

    async def _catch(self, held: Any, place: Place) -> None:
        """Wait for one request, and hold no other."""
        await asyncio.wait_for(held.reached.wait(), PATIENCE_SECONDS)
        plan_of(self.stage, place).holds.remove(held)
        if place.match == LIST:
            # Polls go on beside the call; what follows it begins with its answer on the record.
            await self.stage.outcome(NAME, "Sent")

    @property
    def calls(self) -> int:
        """How often Feldera was called for the decision, carried out or not."""
        return self.stage.feldera.counts[("POST", f"/v0/pipelines/{{name}}/{ACTS[self.act][1]}", "")]

    async def end(self) -> dict[str, Any]:
        """The status at the end of the story."""
        if self.act == "reject":
            await self.stage.outcome(NAME, "Stopped")
        else:
            await self.stage.outcome(NAME, "Bootstrapped")
            await self.stage.reach(NAME, lambda status: status["decision"].get("checkpoint") == "Durable")
        return self.stage.status(NAME)

    def faults_of(self, status: dict[str, Any]) -> list[str]:
        return list(self._find_faults(status))

    def _find_faults(self, status: dict[str, Any]) -> Iterator[str]:
        """What is not as it must be at the end, whatever happened before."""
        decision, feldera = status["decision"], self.stage.feldera
        if self.act == "approve":
            effective = [record for record in feldera.approvals if record.effective]
            if [record.deployment_id for record in effective] != [self.deployment_id]:
                yield f"approved: {effective}"
            if any(record.silent or record.concurrent for record in feldera.approvals):
                yield f"flags: {feldera.approvals}"
            process = feldera.pipelines[NAME].process
            number = status.get("checkpoint_sequence_number")
            if process is None or number is None or number > (process.success or 0):
                yield f"checkpoint {number} of {process}"
            if feldera.stops:
                yield f"stopped: {feldera.stops}"
        else:
            if {(stop.deployment_id, stop.force) for stop in feldera.stops} != {(self.deployment_id, True)}:
                yield f"stopped: {feldera.stops}"
            if feldera.approvals:
                yield f"approved: {feldera.approvals}"
        if decision["deploymentId"] != self.deployment_id:
            yield f"decision about {decision['deploymentId']}"
        if status["handled"] != {self.act: TOKEN}:
            yield f"handled: {status['handled']}"
        if [entry["requestId"] for entry in status["history"]] != [decision["requestId"]]:
            yield f"history: {status['history']}"
        if status.get("ignored") or status.get("request"):
            yield f"left over: {status.get('ignored')} {status.get('request')}"
        for event in self.stage.events(NAME):
            if event["count"] != 1 and event["reason"] in TOLD_ONCE:
                yield f"told more than once: {event['reason']}"


async def kill(story: Story, point: Point) -> list[str]:
    """An operator is killed at the point, and another one starts; the answer is what is wrong in the end."""
    async with story.operator() as first:
        await story.begin()
        held = await story.lead_to(point)
        first.kill()
        wrong = first.complaints()
    held.release(cut=True)
    async with story.operator() as second:
        wrong += story.faults_of(await story.end())
        wrong += second.complaints()
    return [*wrong, *_count(story, point.calls)]


async def stop(story: Story, point: Point) -> list[str]:
    """An operator is asked to stop at the point: it finishes what is in hand, and the next one does the rest."""
    async with story.operator() as first:
        await story.begin()
        held = await story.lead_to(point)
        first.terminate()
        await first.says("stopping")
        held.release()
        wrong = await _leave(first)
    async with story.operator() as second:
        wrong += story.faults_of(await story.end())
        wrong += second.complaints()
    return [*wrong, *_count(story, 1)]


async def abandon(story: Story, point: Point) -> list[str]:
    """The same, but what is in hand never comes to an end: it is abandoned within the grace period."""
    async with story.operator() as first:
        await story.begin()
        held = await story.lead_to(point)
        first.terminate()
        wrong = await _leave(first)
    held.release(cut=True)
    async with story.operator() as second:
        wrong += story.faults_of(await story.end())
        wrong += second.complaints()
    return [*wrong, *_count(story, point.calls)]


async def freeze(story: Story, point: Point) -> list[str]:
    """An operator is frozen at the point, and another one goes on; when it wakes, it must not act on what it knew.

    Meanwhile the pipeline has come up, was changed, and asks again: whatever the frozen one still sends would answer a
    request that nobody has seen.
    """
    feldera = story.stage.feldera
    async with story.operator() as first:
        await story.begin()
        held = await story.lead_to(point)
        first.freeze()
        async with story.operator() as second:
            wrong = story.faults_of(await story.end())
            wrong += second.complaints()
        feldera.ask(NAME)
        done = story.calls, len(feldera.approvals), len(feldera.stops)
        # A call on its way to Feldera is nobody's any more; here it gets lost.
        held.release(cut=held.match in ACTS.values() and held.where == "before")
        first.thaw()
        await story.stage.request(NAME)
        await story.stage.polls(5)
        if (story.calls, len(feldera.approvals), len(feldera.stops)) != done:
            wrong.append(f"acted after it woke: {story.calls} calls, {feldera.approvals}, {feldera.stops}")
        wrong += first.complaints()
    return [*wrong, *_count(story, point.calls)]


async def _leave(operator: Operator) -> list[str]:
    code = await operator.ended()
    return [*operator.complaints(), *([f"exit code {code}"] if code else [])]


def _count(story: Story, wanted: int) -> list[str]:
    return [] if story.calls == wanted else [f"{story.calls} calls instead of {wanted}"]
