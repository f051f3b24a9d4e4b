"""Whenever an operator dies or is told to stop, the next one brings the decision to the right end, and only once."""

from pathlib import Path

import pytest

from crash.conftest import REAL, SANDBOX, Case, Open, Outcomes, build_params
from crash.points import points
from crash.story import Story, abandon, kill, stop

HOW = {"killed": kill, "stopped": stop, "abandoned": abandon}
ABANDONED = ("before the intent is written", "before the call", "after the call")
"""One write and two calls: it takes as long as their time-outs."""
STOPPED = ("the intent is written", "the call", "the answer is written", "the checkpoint's number is written")
"""What there is to finish: writes and calls that change something."""

MATRIX = {
    # A real API server differs from the simulated one where the status is written, and in what it takes to restart.
    SANDBOX: {"approve": ("killed", "stopped", "abandoned"), "reject": ("killed",)},
    REAL: {"approve": ("killed",)},
}
CASES = [
    Case(act, style, point, how, where)
    for where, acts in MATRIX.items()
    for act, hows in acts.items()
    for how in hows
    for style in (("string", "documented") if (act, how, where) == ("approve", "killed", SANDBOX) else ("string",))
    for point in points(act, style)
    if how != "abandoned" or point.name in ABANDONED
    if how != "stopped" or point.name.endswith(STOPPED)
]


async def tell(case: Case, open_stage: Open, folder: Path) -> list[str]:
    async with open_stage(case.where, approve_style=case.style) as stage:
        return await HOW[case.how](Story(stage, folder, act=case.act), case.point)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("case", build_params(CASES))
async def test_a_decision_survives_the_end_of_its_operator(case: Case, outcomes: Outcomes) -> None:
    assert await outcomes[case] == []
