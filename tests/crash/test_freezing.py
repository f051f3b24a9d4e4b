"""A frozen operator that wakes up does not act on what it knew, while another one has carried the decision out."""

from pathlib import Path

import pytest

from crash.conftest import REAL, SANDBOX, Case, Open, Outcomes, build_params
from crash.points import points
from crash.story import Story, freeze

ON_REAL = (
    "before the intent is written",
    "after the verifying read",
    "before the call",
    "before the answer is written",
)
"""One write too late, one call too late, one answer too late."""
CASES = [
    Case(act, "string", point, "frozen", where)
    for where, acts in ((SANDBOX, ("approve", "reject")), (REAL, ("approve",)))
    for act in acts
    for point in points(act, "string")
    if where == SANDBOX or point.name in ON_REAL
    # How a stop is followed up is nothing that anybody could do twice.
    if act == "approve" or "follow-up" not in point.name
]


async def tell(case: Case, open_stage: Open, folder: Path) -> list[str]:
    async with open_stage(case.where, approve_style=case.style) as stage:
        return await freeze(Story(stage, folder, act=case.act), case.point)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("case", build_params(CASES))
async def test_a_frozen_operator_does_nothing_when_it_wakes(case: Case, outcomes: Outcomes) -> None:
    assert await outcomes[case] == []
