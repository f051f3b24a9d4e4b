"""The stamp: who set a decision is written by the API server, whatever anybody else writes there."""

import pytest

from support.admission import Admission, Refused
from support.pipelines import OTHER, WAITING, pipeline, waiting

STAMP = "pipeline-approver.io/approved-by"
BEFORE = pipeline(status=waiting())
STAMPED = pipeline(status=waiting(), approve=WAITING, approved_by="ann")


def stamp(written: object) -> str | None:
    annotations = written.object["metadata"].get("annotations", {})  # type: ignore[attr-defined]
    return annotations.get(STAMP)  # type: ignore[no-any-return]


CASES = {
    "a new approval": ("ann", BEFORE, pipeline(status=waiting(), approve=WAITING), "ann"),
    "a new rejection": ("ann", BEFORE, pipeline(status=waiting(), reject=WAITING), "ann"),
    "approved at create": ("ann", None, pipeline(approve="true"), "ann"),
    "somebody else's name": ("ann", BEFORE, pipeline(status=waiting(), approve=WAITING, approved_by="bob"), "ann"),
    "a changed approval": ("bob", STAMPED, pipeline(status=waiting(), approve="true", approved_by="ann"), "bob"),
    "a GitOps tool that applies the same again": ("argo", STAMPED, pipeline(status=waiting(), approve=WAITING), "ann"),
    "an editor of the spec": (
        "ed",
        STAMPED,
        pipeline(status=waiting(), approve=WAITING, approved_by="ann", spec={"suspend": True}),
        "ann",
    ),
    "an editor who writes a name": (
        "ed",
        STAMPED,
        pipeline(status=waiting(), approve=WAITING, approved_by="ed"),
        "ann",
    ),
    "an editor who takes the name away": ("ed", STAMPED, pipeline(status=waiting(), approve=WAITING), "ann"),
    "an approval taken back": ("ed", STAMPED, pipeline(status=waiting(), approved_by="ann"), None),
    "an approval taken back with false": (
        "ed",
        STAMPED,
        pipeline(status=waiting(), approve="false", approved_by="ann"),
        None,
    ),
    "an approval taken back beside a rejection": (
        "bob",
        pipeline(status=waiting(), approve=WAITING, reject=WAITING, approved_by="ann"),
        pipeline(status=waiting(), reject=WAITING, approved_by="ann"),
        "ann",
    ),
    "a name at create": ("ed", None, pipeline(approved_by="ann"), None),
    "a decision that is older than the policy": (
        "ed",
        pipeline(status=waiting(), approve=OTHER),
        pipeline(status=waiting(), approve=OTHER, approved_by="ann"),
        None,
    ),
    "nothing": ("ed", None, pipeline(), None),
}


@pytest.mark.parametrize("case", CASES)
def test_the_stamp_is_the_name_of_who_decided(approved_by: Admission, case: str) -> None:
    user, old, new, expected = CASES[case]
    assert stamp(approved_by.write(user, new, old)) == expected


def test_it_touches_nothing_else(approved_by: Admission) -> None:
    new = pipeline(status=waiting(), approve=WAITING, reason="so", spec={"outputs": "Silent"})
    written = approved_by.write("ann", new, BEFORE).object
    del written["metadata"]["annotations"][STAMP]
    assert written == new


def test_it_does_not_help_who_may_not_decide(approved_by: Admission) -> None:
    with pytest.raises(Refused, match="user ed needs the verb approve"):
        approved_by.write("ed", pipeline(status=waiting(), approve=WAITING, approved_by="ann"), BEFORE)
