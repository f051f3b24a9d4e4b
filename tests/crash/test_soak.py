"""An hour of a busy cluster in half a minute: memory, descriptors and tasks stay, and no error is logged."""

import asyncio
import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crash.conftest import SANDBOX, Open, Outcomes
from support import gauges, processes
from support.gauges import Reading
from support.stage import Stage, wait_until

TIMES = ("--poll-interval", "0.1", "--approve-timeout", "2", "--settle-time", "4", "--health-port", "0")
PIPELINES, ROUNDS = 25, 9
"""As many as ask for approval in an hour, and how often each of them does."""
TROUBLES = 90
"""Three in two minutes."""
MEGABYTE = 2**20
ALLOWED: dict[str, tuple[float, float]] = {"memory": (1, 2 * MEGABYTE), "descriptors": (1, 4), "tasks": (1, 6)}
"""How much more the last third may use than the one before: as a factor, and in addition."""


@dataclass(frozen=True, slots=True)
class Hour:
    where: str = SANDBOX


async def tell(case: Hour, open_stage: Open, folder: Path) -> list[str]:
    dice = random.Random(4)
    async with open_stage(case.where) as stage:
        names = [f"p{number}" for number in range(PIPELINES)]
        for name in names:
            stage.feldera.add(name)
            stage.create(name)
        environ = {**os.environ, **stage.environ, **processes.ENVIRON}
        readings = folder / "readings"
        inside = gauges.record(readings)
        async with processes.running(TIMES, environ, folder / "operator.log", inside=inside) as operator:
            marks: list[float] = []
            work = asyncio.gather(*(live(stage, name, random.Random(name), marks) for name in names))
            trouble = asyncio.create_task(make_trouble(stage, dice, marks))
            wrong = [complaint for complaints in await work for complaint in complaints]
            trouble.cancel()
            stage.kube.faults.clear()
            stage.feldera.faults.clear()
            operator.terminate()
            code = await operator.ended()
            wrong += [*operator.complaints(), *([f"exit code {code}"] if code else [])]
    return [*wrong, *judge(gauges.read(readings), marks)]


async def live(stage: Stage, name: str, dice: random.Random, marks: list[float]) -> list[str]:
    """One pipeline is changed, waits, and is approved or rejected, over and over."""
    approved, rejected = [], 0
    for number in range(ROUNDS):
        deployment_id = stage.feldera.ask(name)
        await stage.reach(name, lambda status, id_=deployment_id: status.get("request") and _deployment(status) == id_)
        token = dice.choice((stage.status(name)["request"]["id"], f"true@{number}"))
        if dice.random() < 0.3:
            stage.annotate(name, approve="nonsense", reason=f"round {number}")
        if dice.random() < 0.15:
            rejected += 1
            stage.annotate(name, reject=token, approve=None)
            await stage.reach(name, _is_over("Stopped", deployment_id))
        else:
            approved.append(deployment_id)
            stage.annotate(name, approve=token, reject=None)
            await stage.reach(name, _is_over("Bootstrapped", deployment_id))
        marks.append(time.monotonic())
    effective = [record.deployment_id for record in stage.feldera.approvals if record.name == name and record.effective]
    stops = len({record.deployment_id for record in stage.feldera.stops if record.name == name})
    if (effective, stops) != (approved, rejected):
        return [f"{name}: approved {effective} instead of {approved}, rejected {stops} instead of {rejected}"]
    return []


def _deployment(status: dict[str, Any]) -> str:
    found: str = status.get("pipeline", {}).get("deploymentId", "")
    return found


def _is_over(outcome: str, deployment_id: str) -> Callable[[dict[str, Any]], bool]:
    def look(status: dict[str, Any]) -> bool:
        decision = status.get("decision", {})
        return (decision.get("deploymentId"), decision.get("outcome")) == (deployment_id, outcome)

    return look


async def make_trouble(stage: Stage, dice: random.Random, marks: list[float]) -> None:
    """Evenly over the hour: what networks, servers and people do."""
    kube, feldera = stage.kube.faults, stage.feldera.faults
    troubles: list[Callable[[], object]] = [
        lambda: stage.kube.cut_watches(),
        lambda: stage.kube.expire_watches("pipelines"),
        lambda: kube.add(("patch", "pipelines/status"), kind="status", status=500),
        lambda: kube.add(("patch", "pipelines/status"), kind="applied_then_drop"),
        lambda: kube.add(("patch", "pipelines/status"), kind="status", status=429, retry_after=1),
        lambda: kube.add(("*", "events"), kind="status", status=503),
        lambda: feldera.add(("GET", "list"), kind="drop", times=2),
        lambda: feldera.add(("GET", "list"), kind="html", status=502),
        lambda: feldera.add(("GET", "get"), kind="truncate"),
        lambda: feldera.add(("POST", "approve"), kind="status", status=503),
        lambda: feldera.add(("POST", "approve"), kind="applied_then_drop"),
        lambda: feldera.add(("POST", "checkpoint"), kind="status", status=503),
    ]
    step = PIPELINES * ROUNDS / TROUBLES
    for number in range(TROUBLES):
        await wait_until(lambda due=number * step: len(marks) >= due, "the work goes on")
        dice.choice(troubles)()
        visitor = f"visitor-{number}"
        stage.create(visitor, annotations={"approve": "true"})
        if number >= 3:
            stage.kube.delete("pipelines", "default", f"visitor-{number - 3}")


def judge(readings: list[Reading], marks: list[float]) -> list[str]:
    """Compare the last third of the work with the one before; the first one is for warming up."""
    marks = sorted(marks)
    one, two = marks[len(marks) // 3], marks[2 * len(marks) // 3]
    middle = [reading for reading in readings if one <= reading.at < two]
    last = [reading for reading in readings if two <= reading.at <= marks[-1]]
    wrong = []
    for name, (factor, more) in ALLOWED.items():
        before, after = (statistics.median(getattr(it, name) for it in part) for part in (middle, last))
        if after > before * factor + more:
            wrong.append(f"{name} grew from {before} to {after}")
    return wrong


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("case", [Hour()], ids=[""])
async def test_an_hour_of_work_and_trouble_leaves_nothing_behind(case: Hour, outcomes: Outcomes) -> None:
    assert await outcomes[case] == []
