"""Whole episodes of trouble in virtual time, and the proof that each safety rule matters.

`make soak` plays as many episodes as one likes; a seed that is printed there is played again by
`make soak ARGS="--seed N --trace"`.
"""

import pytest

from simulation.episode import Episode, draw
from simulation.mutations import broken
from simulation.world import Violation

FOUND = [
    ("drop the verifying read", 0),
    ("resend without waiting", 0),
    ("take a lag for a new question", 0),
    ("accept a prefix", 0),
    ("forget the used token", 1),
    ("follow a changed deployment", 0),
    ("decide in a conflict", 1),
    ("decide what Feldera said before it fell silent", 1),
    ("decide while suspended", 1),
    ("leave the program out of the digest", 0),
    ("take silence for a refusal", 1),
    ("treat Unavailable as withdrawn", 3),
]
"""Broken rules, each with a seed whose episode tells."""


@pytest.mark.parametrize("seed", [0, 1])
def test_an_episode_keeps_every_promise(seed: int) -> None:
    world = Episode(draw(seed)).play()
    assert world.loop.steps > 0


@pytest.mark.parametrize(("name", "seed"), FOUND, ids=[name for name, _ in FOUND])
def test_a_broken_rule_is_found_out(name: str, seed: int) -> None:
    with broken(name), pytest.raises(Violation):
        Episode(draw(seed)).play()
