"""What was once found in the product, as orders of events: each tells again as soon as its rule is broken."""

from collections.abc import Callable

from simulation.machine import CHANGES, Machine


def stand_still(world: Machine) -> None:
    """A process that stood still for long decided from what it knew before."""
    world.freeze_operator(0, seconds=300.0, then=70.0)
    world.annotate(0, "approve", "true", then=70.0)
    for _ in range(3):
        world.clear(1, then=70.0)


def come_up_from_another_state(world: Machine) -> None:
    """A decision was tried for ever after its deployment had come to wait for another change."""
    world.annotate(0, "approve", "id", then=1.0)
    world.crash_pipeline(0, loses_storage=True, pulled=CHANGES[2], then=70.0)


STORIES = [
    ("decide from what was known before standing still", stand_still),
    ("carry out a decision about another change", come_up_from_another_state),
]
"""Broken rules, each with a story that tells."""


def play(story: Callable[[Machine], None]) -> None:
    """Raises Violation if a promise is broken, on the way or at rest."""
    machine = Machine()
    machine.begin(operators=1, twins=False, one_shot="any", documented=False)
    try:
        story(machine)
    finally:
        machine.teardown()
