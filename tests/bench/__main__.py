"""`make bench`: figures of the operator, printed; nothing here passes or fails by speed.

The two simulated servers run in this process, the operator and the bare script in processes of their own. Ratios are
against the bare script of the same run, so that a slow machine does not matter.
"""

import argparse
import asyncio
import dataclasses
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.stage import OperatorProcess, Stage

POLL_SECONDS = 1.0
REST_POLLS = 10
BARE = Path(__file__).resolve().parent / "bare.py"
DIFF = {
    "program_diff": {
        **{f"{verb}_{noun}": [] for verb in ("added", "removed", "modified") for noun in ("tables", "views")},
        "added_views": ["daily"],
    },
    "program_diff_error": None,
    **{
        f"{verb}_{noun}": []
        for verb in ("added", "removed", "modified")
        for noun in ("input_connectors", "output_connectors")
    },
}


@dataclasses.dataclass
class Figures:
    """One row of the table."""

    pipelines: int
    requests_per_poll: float = 0
    writes_at_rest: int = 0
    writes_per_approval: float = 0
    synced_seconds: float = 0
    memory_mb: float = 0
    cpu_percent: float = 0
    latency_ms: tuple[float, float] = (0, 0)
    bare_latency_ms: tuple[float, float] = (0, 0)


async def measure(count: int, samples: int) -> Figures:
    """All figures for one number of Pipelines."""
    figures = Figures(count)
    with tempfile.TemporaryDirectory() as folder:
        async with Stage(Path(folder), step_seconds=0.05) as stage:
            for number in range(count):
                stage.feldera.add(f"p{number}")
                stage.create(f"p{number}")
            started = now()
            operator = await stage.process("--poll-interval", str(POLL_SECONDS), "--log-level", "warning")
            await until(lambda: all("status" in p for p in stage.kube.list("pipelines")))
            figures.synced_seconds = now() - started
            await asyncio.sleep(2 * POLL_SECONDS)
            await rest(stage, operator, figures)
            names = await approve(stage, count, samples, figures)
            figures.latency_ms = latencies(stage, names)
            await operator.end()
        if count > 1:
            async with Stage(Path(folder), step_seconds=0.05) as stage:
                figures.bare_latency_ms = await measure_bare(stage, count, samples)
    return figures


async def rest(stage: Stage, operator: OperatorProcess, figures: Figures) -> None:
    """Requests, writes, memory and CPU while nothing happens."""
    pid = operator.process.pid
    lists = ("GET", "/v0/pipelines", "status")
    before, writes, cpu, at = stage.feldera.counts.copy(), stage.writes(), cpu_seconds(pid), now()
    await until(lambda: stage.feldera.counts[lists] - before[lists] >= REST_POLLS)
    polls = stage.feldera.counts[lists] - before[lists]
    figures.requests_per_poll = sum((stage.feldera.counts - before).values()) / polls
    figures.writes_at_rest = stage.writes() - writes
    figures.cpu_percent = 100 * (cpu_seconds(pid) - cpu) / (now() - at)
    figures.memory_mb = memory_mb(pid)


async def approve(stage: Stage, count: int, samples: int, figures: Figures) -> dict[str, float]:
    """Have some pipelines ask, annotate them one after another, and note when."""
    names = [f"p{number}" for number in range(0, count, max(1, count // samples))][:samples]
    writes = stage.writes()
    for name in names:
        stage.feldera.ask(name, diff=DIFF)
    await until(lambda: all("request" in stage.status(name) for name in names))
    annotated = {}
    for name in names:
        annotated[name] = unix()
        stage.annotate(name, approve=stage.status(name)["request"]["id"])
        await asyncio.sleep(0.02)
    await until(lambda: all("checkpoint_sequence_number" in stage.status(name) for name in names))
    await until(lambda: all(durable(stage, name) for name in names))
    figures.writes_per_approval = (stage.writes() - writes) / len(names)
    return annotated


async def measure_bare(stage: Stage, count: int, samples: int) -> tuple[float, float]:
    """The floor: a script that watches and posts, and knows no rule."""
    for number in range(count):
        stage.feldera.add(f"p{number}", state="AwaitingApproval", diff=DIFF)
        stage.create(f"p{number}")
    command = (sys.executable, str(BARE), stage.kube.url, stage.feldera.url)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    names = {}
    for number in range(0, count, max(1, count // samples)):
        names[f"p{number}"] = unix()
        stage.annotate(f"p{number}", approve="true")
        await asyncio.sleep(0.02)
    await until(lambda: {record.name for record in stage.feldera.approvals} >= set(names))
    process.terminate()
    await process.wait()
    return latencies(stage, names)


def latencies(stage: Stage, annotated: dict[str, float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds from annotation to the arrival of the POST."""
    values = sorted(
        1000 * (record.at - annotated[record.name]) for record in stage.feldera.approvals if record.name in annotated
    )
    if len(values) < 2:
        return (values[0], values[0]) if values else (0, 0)
    return statistics.median(values), statistics.quantiles(values, n=100, method="inclusive")[98]


def durable(stage: Stage, name: str) -> bool:
    return stage.condition(name, "CheckpointDurable").get("status") == "True"


async def until(look: Callable[[], bool]) -> None:
    deadline = now() + 300
    while not look():
        if now() > deadline:
            raise SystemExit("the operator did not get there in five minutes")
        await asyncio.sleep(0.02)


def now() -> float:
    return asyncio.get_running_loop().time()


def unix() -> float:
    import time

    return time.time()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def render(rows: list[Figures]) -> str:
    """A table in Markdown."""
    heads = [
        "Pipelines",
        "requests per poll",
        "writes in ten polls at rest",
        "writes per approval",
        "start to all statuses (s)",
        "memory (MB)",
        f"CPU at rest (%), a poll per {POLL_SECONDS:g} s",
        "annotation to POST p50 / p99 (ms)",
        "bare script p50 / p99 (ms)",
        "ratio p50 / p99",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        pairs = list(zip(row.latency_ms, row.bare_latency_ms, strict=True))
        ratio = " / ".join(f"{ours / bare:.1f}" for ours, bare in pairs) if row.bare_latency_ms[0] else "-"
        cells = [
            f"{row.pipelines:,}",
            f"{row.requests_per_poll:.2f}",
            str(row.writes_at_rest),
            f"{row.writes_per_approval:.2f}",
            f"{row.synced_seconds:.1f}",
            f"{row.memory_mb:.0f}",
            f"{row.cpu_percent:.1f}",
            " / ".join(f"{value:.1f}" for value in row.latency_ms),
            " / ".join(f"{value:.1f}" for value in row.bare_latency_ms) if row.bare_latency_ms[0] else "-",
            ratio,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipelines", type=int, nargs="*", default=[1, 1000, 10_000])
    parser.add_argument("--samples", type=int, default=200)
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rows = []
    for count in arguments.pipelines:
        rows.append(asyncio.run(measure(count, arguments.samples)))
        print(render(rows[-1:]).splitlines()[-1], flush=True)
    print()
    print(render(rows))


if __name__ == "__main__":
    main()
