"""What is said of annotations while there is nothing to judge them by."""

import pytest

from pipeline_approver.core.case import Act, OneShot, Problem, Rules
from pipeline_approver.core.settle import Accepted
from pipeline_approver.core.status import Outcome
from support.cases import NEXT_DEPLOYMENT, RUNNING, STOPPED, VIEW, World, shown

SILENT = Problem(reason="TimedOut", message="no answer in time")


@pytest.mark.parametrize("form", ["id", "digest", "true"])
def test_a_value_set_while_feldera_is_silent_is_not_called_ignored(form: str) -> None:
    world = shown()
    request = world.status.request
    assert request is not None
    world.set(problem=SILENT, approve={"id": request.id, "digest": request.digest}.get(form, form)).step()
    assert world.status.ignored == ()
    assert world.status.request == request
    assert isinstance(world.set(problem=None).step(), Act)


def test_what_was_said_of_a_value_stands_while_feldera_is_silent() -> None:
    world = shown()
    world.set(approve="0123456789ab").step()
    said = world.status.ignored
    assert [entry.reason for entry in said] == ["StaleRequest"]
    world.set(problem=SILENT).step()
    assert world.status.ignored == said
    world.set(approve="fedcba987654").step()
    assert world.status.ignored == ()


def test_a_malformed_value_is_reported_although_feldera_is_silent() -> None:
    world = shown()
    world.set(problem=SILENT, approve="yes").step()
    assert [entry.reason for entry in world.status.ignored] == ["Malformed"]


def test_a_newer_twin_judges_no_annotation_at_all() -> None:
    for program in (None, World().case.observation.program):
        world = World(duplicate_of="shop/older", approve="true", reject="0123456789ab", program=program)
        world.step()
        assert world.status.ignored == ()
        assert world.condition("ApprovalRequired") == ("False", "NothingWaits")


def test_approval_is_not_required_of_a_newer_twin_while_feldera_is_silent() -> None:
    world = shown()
    world.set(problem=SILENT, duplicate_of="shop/older").step()
    assert world.status.request is None
    assert world.condition("ApprovalRequired") == ("Unknown", "NotKnown")


def test_a_one_shot_that_came_too_early_stays_reported_as_that() -> None:
    world = World(**RUNNING, approve="true", rules=Rules(one_shot=OneShot.WAITING))
    world.step()
    before = world.status
    assert [entry.reason for entry in before.ignored] == ["SetTooEarly"]
    world.later(600).step()
    assert world.status == before
    world.set(view=VIEW).step()
    assert world.status.request is not None
    assert world.status.ignored == before.ignored


def test_a_one_shot_that_came_too_early_is_used_up_also_while_another_decision_ends() -> None:
    world = shown()
    world.set(rules=Rules(one_shot=OneShot.WAITING), reject="true")
    world.answer(world.step(), Accepted()).set(**STOPPED)
    world.set(view=VIEW, approve="true@2", **NEXT_DEPLOYMENT)
    assert world.step() is None
    assert world.status.decision is not None
    assert world.status.decision.outcome is Outcome.STOPPED
    assert world.status.handled.approve == "true@2"
    assert world.step() is None
