"""The stamp: who set a decision is written by the API server, whatever anybody else writes there."""

import pytest

from support.admission import Admission, Refused
from support.pipelines import WAITING, pipeline, waiting
from support.stamping import BEFORE, CASES, STAMP, stamp


@pytest.mark.parametrize("case", CASES)
def test_the_stamp_is_the_name_of_who_decided(approved_by: Admission, case: str) -> None:
    user, old, new, expected = CASES[case]
    assert stamp(approved_by.write(user, new, old).object) == expected


def test_it_touches_nothing_else(approved_by: Admission) -> None:
    new = pipeline(status=waiting(), approve=WAITING, reason="so", spec={"outputs": "Silent"})
    written = approved_by.write("ann", new, BEFORE).object
    del written["metadata"]["annotations"][STAMP]
    assert written == new


def test_it_does_not_help_who_may_not_decide(approved_by: Admission) -> None:
    with pytest.raises(Refused, match="user ed needs the verb approve"):
        approved_by.write("ed", pipeline(status=waiting(), approve=WAITING, approved_by="ann"), BEFORE)
