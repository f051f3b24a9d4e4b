"""What was played and found, in figures that add up over episodes."""

import collections
import time
from dataclasses import dataclass, field

from simulation.episode import Episode, draw
from simulation.network import FELDERA_FAULTS, KUBERNETES_FAULTS
from simulation.world import Violation, World


@dataclass(slots=True)
class Result:
    """The figures of one episode or of many."""

    episodes: int = 0
    steps: int = 0
    hours: float = 0.0
    requests: int = 0
    judged: int = 0
    """Pipelines that were judged at rest."""
    approvals: int = 0
    rejections: int = 0
    resent: int = 0
    faults: collections.Counter[str] = field(default_factory=collections.Counter)
    accidents: collections.Counter[str] = field(default_factory=collections.Counter)
    statuses: collections.Counter[str] = field(default_factory=collections.Counter)
    strays: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    """What was violated, by seed."""

    def add(self, other: "Result") -> None:
        """Add the figures of others."""
        for name in ("episodes", "steps", "hours", "requests", "judged", "approvals", "rejections", "resent", "strays"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults += other.faults
        self.accidents += other.accidents
        self.statuses += other.statuses
        self.failed |= other.failed

    def render(self, seconds: float) -> str:
        """The report."""
        lines = [
            f"{self.steps:,} steps (callbacks of operators and events of the world) in {self.episodes:,} episodes",
            f"{self.hours:,.0f} simulated hours in {seconds:,.0f} s: {self.hours / seconds * 60:,.0f} hours a minute",
            f"{self.requests:,} requests judged, {self.judged:,} Pipelines judged at rest",
            f"approvals that bootstrapped a change: {self.approvals:,}; stops: {self.rejections:,}; sent again:"
            f" {self.resent:,}; through Feldera's gap, and reported: {self.strays:,}",
            f"status: {_count(self.statuses)}",
            f"faults of messages: {_count(self.faults)}",
            f"accidents: {_count(self.accidents)}",
            f"violations: {len(self.failed)}",
        ]
        return "\n".join([*lines, *self.failed.values()])


def play(seed: int) -> Result:
    """One episode."""
    episode = Episode(draw(seed))
    failed = {}
    try:
        episode.play()
    except Violation as violation:
        failed[seed] = f'{violation}\nagain, with everything that happens: make soak ARGS="--seed {seed} --trace"'
    return measure(episode.world, failed)


def measure(world: World, failed: dict[int, str]) -> Result:
    """The figures of a world that has been played."""
    faults = {*FELDERA_FAULTS, *KUBERNETES_FAULTS, "overtaken"}
    counts = world.counts.copy()
    strays = counts.pop("strays", 0)
    return Result(
        episodes=1,
        steps=world.loop.steps,
        hours=world.loop.now / 3600,
        requests=len(world.statuses.requests),
        judged=world.rest.judged,
        approvals=world.calls.approvals,
        rejections=world.calls.rejections,
        resent=world.calls.resent,
        faults=collections.Counter({kind: count for kind, count in counts.items() if kind in faults}),
        accidents=collections.Counter({kind: count for kind, count in counts.items() if kind not in faults}),
        statuses=world.statuses.counts,
        strays=strays,
        failed=failed,
    )


def play_for(*, first: int, steps: int = 0, seconds: float = 0.0) -> Result:
    """Episodes one after another, until there were so many steps, or so much time has passed, or one fails."""
    total, began, seed = Result(), time.monotonic(), first
    while (total.steps < steps or time.monotonic() - began < seconds) and not total.failed:
        total.add(play(seed))
        seed += 1
    return total


def _count(counts: collections.Counter[str]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, count in sorted(counts.items()))
