"""What the simulated Feldera is made of: programs, deployments, processes, and the world that they share."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Diff = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Program:
    """What a pipeline runs: relations with a revision each, and text that no diff shows."""

    code: str
    relations: tuple[tuple[str, int], ...]
    udf: str = ""


@dataclass(slots=True, eq=False)
class Approval:
    """One call of approve that reached a process."""

    at: float
    phase: str
    silent: bool
    concurrent: bool
    decides: bool
    """Whether it makes the process go on, now or as soon as it has found its difference."""
    call: Any = None
    """The operator's call; None for anybody else's."""


@dataclass(slots=True, eq=False)
class Deployment:
    """The life of one deployment, for the checks."""

    id: str
    pipeline_id: str
    name: str
    program: Program
    silent: bool
    concurrent: bool
    diff: Diff | None = None
    diffs: list[Diff] = field(default_factory=list)
    """All that it has ever waited for: rows may be stale."""
    waited_at: list[float] = field(default_factory=list)
    left_at: list[float] = field(default_factory=list)
    """When it stopped waiting because somebody approved."""
    came_up_at: float | None = None
    ended_at: float | None = None
    error: str = ""
    approvals: list[Approval] = field(default_factory=list)
    stops: list[float] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Process:
    """The process in the pod."""

    deployment: Deployment
    incarnation: str
    phase: str = "Initializing"
    allowed: bool = False
    decided_by: Approval | None = None
    next_number: int = 0
    success: int | None = None
    failure: tuple[int, str] | None = None
    waiting: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Traits:
    """How this Feldera differs from others."""

    enterprise: bool = True
    documented: bool = False
    """Whether approve answers as documented: 202 with a checkpoint."""
    incarnations: bool = True
    old_details: bool = False
    lag: tuple[float, float] = (0.02, 2.5)


class World:
    """What pipelines need of the world around them."""

    def __init__(
        self, *, after: Callable[..., None], clock: Callable[[], float], rng: random.Random, traits: Traits
    ) -> None:
        self.after = after
        self.clock = clock
        self.rng = rng
        self.traits = traits
        self.runner_up = True
        self.postponed: list[Callable[[], None]] = []
        self.deployments: dict[str, Deployment] = {}
        self.numbers: dict[tuple[str, str, int], str] = {}
        """Checkpoints by pipeline, incarnation and number: requested, complete or failed."""
        self.on_leave: list[Callable[[Deployment, Approval], None]] = []
        """Told when a deployment bootstraps its change because of an approval."""
        self.revision = 0
        self._serial = 0

    def name(self, what: str) -> str:
        """A fresh id, ordered by time as Feldera's are."""
        self._serial += 1
        return f"0199-{what}-{self._serial:05d}"

    def set_runner(self, up: bool) -> None:
        """Stop the runner, or let it catch up."""
        self.runner_up = up
        while up and self.postponed:
            self.postponed.pop(0)()


def find_diff(old: Program | None, new: Program) -> Diff | None:
    """The difference as Feldera reports it; None when there is none."""
    if old is None or old.relations == new.relations:
        return None
    before, after = dict(old.relations), dict(new.relations)
    lists = {
        "added": sorted(name for name in after if name not in before),
        "removed": sorted(name for name in before if name not in after),
        "modified": sorted(name for name in after if name in before and before[name] != after[name]),
    }
    diff: Diff = {
        f"{verb}_{noun}": [name for name in names if name.startswith(noun[0])]
        for noun in ("tables", "views")
        for verb, names in lists.items()
    }
    connectors = {f"{verb}_{side}_connectors": [] for side in ("input", "output") for verb in lists}
    if "broken" in new.code:
        return {"program_diff": None, "program_diff_error": "no IR", **connectors}
    return {"program_diff": diff, "program_diff_error": None, **connectors}
