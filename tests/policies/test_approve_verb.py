"""Who may set approve and reject, to which values, and in whose name: as an API server with the policy decides."""

import contextlib

import pytest

from support.admission import Admission, Refused
from support.approving import ALLOWED, BEFORE, DECIDED, REFUSED, changed
from support.people import build, policies
from support.pipelines import WAITING, pipeline

POLICY = "approve-verb.pipeline-approver.io"


@pytest.mark.parametrize("case", REFUSED)
def test_it_refuses_and_says_why(approve_verb: Admission, case: str) -> None:
    user, old, new, message = REFUSED[case]
    with pytest.raises(Refused) as refused:
        approve_verb.write(user, new, old)
    assert refused.value.policy == POLICY
    assert message in refused.value.message


@pytest.mark.parametrize("case", ALLOWED)
def test_it_allows_and_changes_nothing(approve_verb: Admission, case: str) -> None:
    user, old, new = ALLOWED[case]
    assert approve_verb.write(user, new, old).object == new


def test_with_a_generated_name_only_the_right_to_all_names_counts(approve_verb: Admission) -> None:
    new = pipeline(approve="true")
    new["metadata"]["generateName"] = new["metadata"].pop("name") + "-"
    assert approve_verb.write("ann", new).object == new
    with pytest.raises(Refused, match="user sue needs the verb approve"):
        approve_verb.write("sue", new)


def test_a_manifest_without_spec_or_annotations_is_no_obstacle(approve_verb: Admission) -> None:
    bare = {"metadata": {"name": "orders", "namespace": "default"}}
    assert approve_verb.write("ed", bare).object == bare
    assert approve_verb.write("ed", bare, bare).object == bare


def test_the_status_is_not_its_business(approve_verb: Admission) -> None:
    new = changed(BEFORE, approve=WAITING)
    assert approve_verb.write("pipeline-approver", new, BEFORE, subresource="status").object == new


def test_decisions_are_in_the_audit_log(approve_verb: Admission) -> None:
    approved = approve_verb.write("ann", changed(BEFORE, approve=WAITING), BEFORE)
    assert approved.audit == {f"{POLICY}/approve": f"ann set approve={WAITING}"}
    rejected = approve_verb.write("ann", changed(BEFORE, reject="true"), BEFORE)
    assert rejected.audit == {f"{POLICY}/reject": "ann set reject=true"}
    taken_back = approve_verb.write("ed", changed(DECIDED, approve=None), DECIDED)
    assert taken_back.audit == {f"{POLICY}/approve": "ed set approve="}
    assert approve_verb.write("ed", changed(DECIDED, reason="so"), DECIDED).audit == {}


def test_refused_attempts_are_in_the_audit_log(approve_verb: Admission) -> None:
    with pytest.raises(Refused) as refused:
        approve_verb.write("ed", changed(BEFORE, approve=WAITING), BEFORE)
    assert refused.value.audit == {f"{POLICY}/approve": f"ed set approve={WAITING}"}


@pytest.mark.parametrize("number", range(len(policies("approve-verb")[0]["spec"]["validations"])))
def test_every_validation_refuses_something_that_no_other_does(number: int) -> None:
    weakened = build("approve-verb", without=number)
    slipped_through = []
    for case, (user, old, new, _) in REFUSED.items():
        with contextlib.suppress(Refused):
            weakened.write(user, new, old)
            slipped_through.append(case)
    assert slipped_through
