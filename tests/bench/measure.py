"""Takes the figures of one candidate with one number of Pipelines.

The two simulated servers run in this process, the candidate in a process of its own; both share the machine.
"""

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.candidates import Candidate
from pipeline_approver.sandbox.feldera import pipeline_diff
from support.stage import Stage

PATIENCE_SECONDS = 240.0
SPACING_SECONDS = 0.05
ASKING_SECONDS = 0.13
DIFF = pipeline_diff(added_views=["daily"])


class TooSlow(Exception):
    """A candidate did not get there in time."""


@dataclass(slots=True)
class Figures:
    """One row; None where it was not measured or not reached."""

    candidate: Candidate
    pipelines: int
    synced_seconds: float | None = None
    feldera_per_minute: float | None = None
    kube_per_minute: float | None = None
    feldera_per_poll: float | None = None
    writes_at_rest: int | None = None
    cpu_percent: float | None = None
    memory_mb: float | None = None
    shown_ms: list[float] = field(default_factory=list)
    """From a pipeline that waits to a status that says so."""
    posted_ms: list[float] = field(default_factory=list)
    """From the annotation to the arrival of the POST."""
    writes_per_approval: float | None = None
    burst: int = 0
    burst_seconds: float | None = None
    """From the first annotation of many to the last POST."""
    gave_up: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure."""

    interval: float
    rest_polls: int
    samples: int
    burst: int


async def measure(candidate: Candidate, count: int, plan: Plan) -> Figures:
    """All figures."""
    figures = Figures(candidate, count)
    with tempfile.TemporaryDirectory() as folder:
        async with Stage(Path(folder), step_seconds=0.05) as stage:
            names = [f"p{number}" for number in range(count)]
            for name in names:
                stage.feldera.add(name)
                stage.create(name)
            started = time.monotonic()
            async with _process(candidate, stage, plan) as pid:
                try:
                    await _until(
                        lambda: all("state" in p.get("status", {}) for p in stage.kube.list("pipelines")), "sync"
                    )
                    figures.synced_seconds = time.monotonic() - started
                    await asyncio.sleep(plan.interval)
                    await _rest(stage, pid, figures, plan)
                    samples = names[:: max(1, count // plan.samples)][: plan.samples]
                    await _approve_some(stage, samples, figures)
                    burst = [name for name in names if name not in samples][: plan.burst]
                    await _approve_at_once(stage, burst, figures)
                except TooSlow as error:
                    figures.gave_up = str(error)
    return figures


@contextlib.asynccontextmanager
async def _process(candidate: Candidate, stage: Stage, plan: Plan) -> AsyncIterator[int]:
    command = candidate.command(kube=stage.kube.url, feldera=stage.feldera.url, interval=plan.interval)
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **stage.environ}, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield process.pid
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _rest(stage: Stage, pid: int, figures: Figures, plan: Plan) -> None:
    """Requests, CPU and memory while nothing happens."""
    lists = ("GET", "/v0/pipelines", "status")
    feldera, kube, polls = _total(stage.feldera.counts), _total(stage.kube.counts), stage.feldera.counts[lists]
    writes, cpu, at = stage.writes(), _cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(plan.interval * plan.rest_polls)
    minutes = (time.monotonic() - at) / 60
    asked = _total(stage.feldera.counts) - feldera
    figures.feldera_per_minute = asked / minutes
    figures.kube_per_minute = (_total(stage.kube.counts) - kube) / minutes
    listed = stage.feldera.counts[lists] - polls
    figures.feldera_per_poll = asked / listed if listed else None
    figures.writes_at_rest = stage.writes() - writes
    figures.cpu_percent = 100 * (_cpu_seconds(pid) - cpu) / (minutes * 60)
    figures.memory_mb = _memory_mb(pid)


async def _approve_some(stage: Stage, names: list[str], figures: Figures) -> None:
    """One after another, as people do."""
    writes = stage.writes()
    figures.shown_ms = await _ask_some(stage, names)
    annotated = await _annotate(stage, names, spacing=SPACING_SECONDS)
    posted = await _posts(stage, annotated)
    figures.posted_ms = [1000 * (posted[name] - annotated[name]) for name in names]
    if figures.candidate.script is None:
        await _until(lambda: all(_is_durable(stage, name) for name in names), "checkpoints")
    figures.writes_per_approval = (stage.writes() - writes) / len(names)


async def _ask_some(stage: Stage, names: list[str]) -> list[float]:
    """Have pipelines ask one after another, at every phase of a poll; milliseconds until each status says so."""
    asked: dict[str, float] = {}
    shown: list[float] = []
    due, left = time.monotonic(), list(names)
    deadline = due + PATIENCE_SECONDS
    while left or asked:
        now = time.monotonic()
        if left and now >= due:
            name, due = left.pop(0), now + ASKING_SECONDS
            asked[name] = now
            stage.feldera.ask(name, diff=DIFF)
        for name in [name for name in asked if stage.status(name).get("state") == "AwaitingApproval"]:
            shown.append(1000 * (time.monotonic() - asked.pop(name)))
        if now > deadline:
            raise TooSlow(f"the statuses of those that wait: not in {PATIENCE_SECONDS:g} s")
        await asyncio.sleep(0.002)
    return shown


async def _approve_at_once(stage: Stage, names: list[str], figures: Figures) -> None:
    """All of them wait, and are annotated by one command."""
    if not names:
        return
    for name in names:
        stage.feldera.ask(name, diff=DIFF)
    await _until(lambda: all(stage.status(name).get("state") == "AwaitingApproval" for name in names), "the statuses")
    started = time.time()
    annotated = await _annotate(stage, names, spacing=0)
    posted = await _posts(stage, annotated)
    figures.burst, figures.burst_seconds = len(names), max(posted.values()) - started


async def _annotate(stage: Stage, names: Iterable[str], *, spacing: float) -> dict[str, float]:
    annotated: dict[str, float] = {}
    for name in names:
        request = stage.status(name).get("request", {})
        annotated[name] = time.time()
        stage.annotate(name, approve=request.get("id", "true"))
        await asyncio.sleep(spacing)
    return annotated


async def _posts(stage: Stage, annotated: dict[str, float]) -> dict[str, float]:
    """When the first effective POST of each arrived."""

    def find() -> dict[str, float]:
        found: dict[str, float] = {}
        for record in stage.feldera.approvals:
            if record.effective and record.at >= annotated.get(record.name, float("inf")):
                found.setdefault(record.name, record.at)
        return found

    await _until(lambda: len(find()) == len(annotated), "the POSTs", pause=0.05)
    return find()


def _is_durable(stage: Stage, name: str) -> bool:
    return stage.condition(name, "CheckpointDurable").get("status") == "True"


async def _until(look: Callable[[], Any], what: str, *, pause: float = 0.02) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        if time.monotonic() > deadline:
            raise TooSlow(f"{what}: not in {PATIENCE_SECONDS:g} s")
        await asyncio.sleep(pause)


def quantile(values: list[float], share: float) -> float | None:
    """For example 0.99 for the 99th percentile; None without values."""
    if len(values) < 2:
        return values[0] if values else None
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def _total(counts: Any) -> int:
    return sum(counts.values())


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
