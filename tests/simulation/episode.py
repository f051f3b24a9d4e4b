"""One episode: a world drawn from a seed, some stretches of trouble, each followed by a rest that must be restful."""

import random
from collections.abc import Callable

from pipeline_approver.settings import Settings
from simulation.deployments import Traits
from simulation.operator import Operator
from simulation.world import Config, World

ROUNDS = 3
DEEDS = 150
"""What all actors do in one round, on average."""
ACCIDENTS = {
    "operator crashes": 6,
    "operator freezes": 4,
    "watch cut": 4,
    "watch forgotten": 3,
    "clock jumps": 3,
    "runner down": 4,
    "feldera down": 3,
    "kubernetes down": 3,
    "storm": 4,
    "bad row": 1,
    "key refused": 2,
    "secret gone": 1,
}


def draw(seed: int) -> Config:
    """A world's make-up."""
    rng = random.Random(seed)
    interval = rng.choices((3.0, 10.0, 60.0, 300.0, 1800.0), (6, 3, 2, 2, 1))[0]
    return Config(
        seed=seed,
        pipelines=rng.choices((1, 2, 3), (3, 3, 1))[0],
        twins=rng.choices((0, 1), (3, 1))[0],
        operators=rng.choices((1, 2, 3), (4, 5, 1))[0],
        settings=Settings(
            poll_interval_seconds=interval,
            one_shot=rng.choices(("any", "waiting", "never"), (8, 2, 1))[0],
        ),
        traits=Traits(
            enterprise=rng.random() < 0.85,
            documented=rng.random() < 0.3,
            incarnations=rng.random() < 0.7,
            old_details=rng.random() < 0.2,
        ),
        skew_seconds=rng.choices((0.0, 2.0, 3600.0), (2, 4, 1))[0],
        pace_seconds=interval * rng.choice((3.0, 10.0, 30.0)),
        trouble=rng.choices((0.0, 0.03, 0.2), (1, 3, 1))[0],
    )


class Episode:
    """Plays a world."""

    def __init__(self, config: Config, *, trace: Callable[[str], None] | None = None) -> None:
        self.world = World(config, trace=trace)
        self._rng = random.Random(self.world.rng.random())
        self._round = 0

    def play(self, *, rounds: int = ROUNDS, deeds: int = DEEDS) -> World:
        """All of it; raises Violation. The world is closed afterwards."""
        world = self.world
        try:
            world.start()
            for _ in range(rounds):
                self._disturb()
                world.run(world.config.pace_seconds * deeds / (3 * len(world.keys)))
                self._round += 1
                world.settle()
        finally:
            world.close()
        return world

    def _disturb(self) -> None:
        world, pace = self.world, self.world.config.pace_seconds
        world.active = True
        world.to_feldera.trouble = world.to_kubernetes.trouble = world.config.trouble
        for key in world.keys:
            self._every(pace, world.people.act, key)
            self._every(pace * 3, world.gitops.act, key)
        for number in range(world.config.pipelines):
            self._every(pace / 2, world.owners.act, f"p{number}")
        self._every(pace * 2, self._accident)

    def _every(self, mean: float, act: Callable[..., None], *args: object) -> None:
        """Again and again, in random distances, until the round is over."""
        current = self._round

        def do() -> None:
            if self.world.active and self._round == current:
                act(*args)
                self.world.loop.after(self._rng.expovariate(1 / mean), do)

        self.world.loop.after(self._rng.expovariate(1 / mean), do)

    def _accident(self) -> None:
        world, rng = self.world, self._rng
        kind = rng.choices(list(ACCIDENTS), list(ACCIDENTS.values()))[0]
        world.counts[kind] += 1
        world.note(f"accident: {kind}")
        operator: Operator = rng.choice(world.operators)
        lasts = rng.choice((2.0, 20.0, 90.0, 600.0)) * rng.uniform(0.5, 1.5)
        match kind:
            case "operator crashes":
                operator.crash()
                world.loop.after(rng.choice((0.5, 5.0, 60.0)), operator.start)
            case "operator freezes":
                operator.freeze(lasts)
            case "watch cut" | "watch forgotten" if operator.watch is not None:
                operator.watch.cut(lasts, forgotten=kind == "watch forgotten")
            case "clock jumps":
                operator.skew_seconds += rng.choice((-1, 1)) * rng.choice((1.0, 30.0, 3600.0))
            case "runner down":
                world.feldera.set_runner(False)
                self._later(lasts * 5, world.feldera.set_runner, True)
            case "feldera down":
                world.to_feldera.down = True
                self._later(lasts, setattr, world.to_feldera, "down", False)
            case "kubernetes down":
                world.to_kubernetes.down = True
                self._later(lasts, setattr, world.to_kubernetes, "down", False)
            case "storm":
                calm = world.config.trouble
                for network in (world.to_feldera, world.to_kubernetes):
                    network.trouble = 0.4
                    self._later(lasts, setattr, network, "trouble", calm)
            case "bad row":
                world.feldera.bad_row = rng.choice(sorted(world.feldera.pipelines) or [""])
                self._later(lasts, setattr, world.feldera, "bad_row", "")
            case "key refused":
                refused = rng.choice(sorted(world.feldera.keys))
                world.feldera.keys[refused] = "read"
                if rng.random() < 0.5:
                    del world.feldera.keys[refused]
                self._later(lasts, world.set_keys)
            case "secret gone":
                where = rng.choice(sorted(world.kubernetes.secrets) or [("", "")])
                world.kubernetes.secrets.pop(where, None)
                self._later(lasts, world.set_keys)

    def _later(self, seconds: float, undo: Callable[..., None], *args: object) -> None:
        """Undo something, unless the round has ended: `heal` has undone it then."""
        current = self._round

        def do() -> None:
            if self.world.active and self._round == current:
                undo(*args)

        self.world.loop.after(seconds, do)
