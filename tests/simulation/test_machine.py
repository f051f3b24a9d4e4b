"""Hypothesis looks for an order of events that breaks a promise, and shortens what it finds.

`make soak ARGS="--examples 1000"` looks further, and elsewhere every time. What was once found is told again here.
"""

from collections.abc import Callable

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

from simulation.machine import Machine
from simulation.mutations import broken
from simulation.stories import STORIES, play
from simulation.world import Violation

SUITE = hypothesis.settings(
    max_examples=25, stateful_step_count=20, deadline=None, derandomize=True, database=None, print_blob=False
)
"""The same examples every time."""


def test_no_order_of_events_breaks_a_promise() -> None:
    run_state_machine_as_test(Machine, settings=SUITE)


def test_a_broken_rule_is_found_and_its_example_is_told() -> None:
    # Without shortening it, which takes Hypothesis a hundred examples more.
    search = hypothesis.settings(SUITE, max_examples=200, phases=[hypothesis.Phase.generate])
    with broken("treat Unavailable as withdrawn"), pytest.raises(Violation) as found:
        run_state_machine_as_test(Machine, settings=search)
    story = [line for note in found.value.__notes__ for line in note.splitlines() if line.startswith("state.")]
    assert story[0].startswith("state.begin("), story
    assert any("crash_pipeline" in line or "flap" in line for line in story), story


@pytest.mark.parametrize("story", [story for _, story in STORIES], ids=[story.__name__ for _, story in STORIES])
def test_what_was_found_once_is_not_so_any_more(story: Callable[[Machine], None]) -> None:
    play(story)


@pytest.mark.parametrize(("name", "story"), STORIES, ids=[name for name, _ in STORIES])
def test_a_broken_rule_makes_the_story_true_again(name: str, story: Callable[[Machine], None]) -> None:
    with broken(name), pytest.raises(Violation):
        play(story)
