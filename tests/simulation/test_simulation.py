"""Whole episodes of trouble in virtual time, and the proof that each safety rule matters.

`make soak` plays as many episodes as one likes; a seed that is printed there is played again by
`make soak ARGS="--seed N --trace"`.
"""

import pytest

from simulation.episode import Episode, draw
from simulation.mutations import MUTATIONS, broken
from simulation.stories import STORIES
from simulation.world import Violation

FOUND = [
    ("drop the verifying read", 0),
    ("resend without waiting", 0),
    ("take a lag for a new question", 0),
    ("treat Unavailable as withdrawn", 1),
    ("accept a prefix", 7),
    ("forget the used token", 0),
    ("follow a changed deployment", 4),
    ("decide in a conflict", 4),
    ("decide what Feldera said before it fell silent", 3),
    ("decide while suspended", 6),
    ("leave the program out of the digest", 0),
    ("take silence for a refusal", 4),
    ("ignore the resource version", 2),
    ("act before recording", 0),
    ("act although held up", 8),
    ("decide for the younger of two", 1),
    ("decide from older news", 3),
    ("approve what is wanted stopped", 7),
    ("trust another machine's clock", 13),
    ("forget a used value when another is set", 0),
    ("drop the flags of an approval", 0),
    ("shorten the history", 0),
    ("take any checkpoint for the one asked for", 78),
]
"""Broken rules, each with a seed whose episode told; any change of the product may move that to another one."""
EPISODES = 25
"""How many are played, from that seed on, until one tells."""


@pytest.mark.parametrize("seed", [0, 1])
def test_an_episode_keeps_every_promise(seed: int) -> None:
    world = Episode(draw(seed)).play()
    assert world.loop.steps > 0


@pytest.mark.parametrize(("name", "seed"), FOUND, ids=[name for name, _ in FOUND])
def test_a_broken_rule_is_found_out(name: str, seed: int) -> None:
    with broken(name), pytest.raises(Violation):
        for number in range(seed, seed + EPISODES):
            Episode(draw(number)).play()


def test_every_broken_rule_is_looked_for() -> None:
    assert {name for name, _ in FOUND} | {name for name, _ in STORIES} == MUTATIONS.keys()
