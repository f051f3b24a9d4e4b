"""What an answer makes of the status: only of the decision that was acted on, and only while it is still open."""

import datetime
from typing import Any

import pytest

from pipeline_approver.core.case import Act, RequestCheckpoint
from pipeline_approver.core.settle import Accepted, Ambiguous, Answer, NotApplied, Refused, Unsupported, settle
from pipeline_approver.core.status import Outcome
from support.cases import NEXT_DEPLOYMENT, NOW, RUNNING, VIEW, World, approved, decision_of, sending


@pytest.mark.parametrize("annotation", ["approve", "reject"])
def test_a_call_that_was_taken_answers_the_request(annotation: str) -> None:
    world, action = sending(annotation)
    assert (decision_of(world).outcome, decision_of(world).unanswered) == (Outcome.SENDING, True)
    world.set(generation=4).answer(action, Accepted())
    decision = decision_of(world)
    assert (decision.outcome, decision.unanswered, decision.message) == (Outcome.SENT, False, "")
    assert decision.retry_at == NOW + datetime.timedelta(seconds=60)
    assert (world.status.request, world.status.observed_generation) == (None, 4)


@pytest.mark.parametrize("answer", [Refused(message="no"), Unsupported(message="no")])
def test_a_refusal_is_told_and_ends_the_decision(answer: Answer) -> None:
    world, action = sending()
    world.answer(action, answer)
    decision = decision_of(world)
    assert (decision.outcome, decision.unanswered, decision.message) == (Outcome.FAILED, False, "no")
    assert decision.retry_at is None
    assert [entry.outcome for entry in world.status.history] == [Outcome.FAILED]


def test_a_request_that_feldera_refused_to_have_approved_still_waits() -> None:
    world, action = sending()
    world.answer(action, Refused(message="no"))
    assert world.request_id == action.request_id
    assert world.condition("ApprovalRequired") == ("True", "AwaitingApproval")


def test_a_call_whose_fate_is_not_known_says_so_and_leaves_the_request() -> None:
    world, action = sending()
    world.answer(action, Ambiguous(message="no answer in time"))
    assert (decision_of(world).outcome, decision_of(world).unanswered) == (Outcome.SENDING, True)
    assert decision_of(world).message == "no answer in time; reading the pipeline before trying again"
    assert world.request_id == action.request_id


def test_calls_without_effect_back_off_up_to_two_minutes() -> None:
    world, action = sending()
    pauses = []
    for _ in range(10):
        world.answer(action, NotApplied(message="busy"))
        retry_at = decision_of(world).retry_at
        assert retry_at is not None
        pauses.append((retry_at - world.case.now).total_seconds())
        assert world.step() is None
        action = world.later(pauses[-1]).step()
        assert isinstance(action, Act)
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 120, 120, 120]


@pytest.mark.parametrize(("asked_for", "pause"), [(0, 1), (0.5, 1), (30, 30)])
def test_feldera_may_ask_for_a_longer_pause_but_for_no_shorter_one(asked_for: float, pause: float) -> None:
    world, action = sending()
    world.answer(action, NotApplied(message="busy", retry_after=datetime.timedelta(seconds=asked_for)))
    assert decision_of(world).retry_at == NOW + datetime.timedelta(seconds=pause)


@pytest.mark.parametrize("answer", [Accepted(number=1), Refused(message="no"), NotApplied(message="busy")])
def test_an_answer_that_comes_too_late_changes_nothing(answer: Answer) -> None:
    world, action = sending()
    world.answer(action, NotApplied(message="busy"))
    again = world.later(60).step()
    assert isinstance(again, Act)
    assert settle(world.case, action, answer) == world.status
    world.answer(again, Accepted())
    assert settle(world.case, again, answer) == world.status


def test_an_answer_about_another_decision_changes_nothing() -> None:
    world, action = sending()
    other = World()
    assert settle(other.case, action, Accepted(number=1)) == other.status
    world.answer(action, Accepted()).set(view=VIEW, **NEXT_DEPLOYMENT, approve=None).step()
    assert isinstance(world.set(reject="true").step(), Act)
    assert settle(world.case, action, Accepted(number=1)) == world.status
    of_a_rejection = RequestCheckpoint(request_id=decision_of(world).request_id)
    assert settle(world.case, of_a_rejection, Accepted(number=1)) == world.status


def test_the_facts_of_the_status_stay_those_of_the_deployment_that_was_answered_for() -> None:
    world = approved(checkpoint="AfterBootstrap").set(**RUNNING)
    action = world.step()
    assert isinstance(action, RequestCheckpoint)
    world.answer(action, Accepted(number=1))
    assert world.status.pipeline is not None
    assert world.status.pipeline.status == "Running"
    facts: dict[str, Any] = {**NEXT_DEPLOYMENT, "program_version": 8}
    before = world.status.pipeline
    world.set(**facts).answer(action, Accepted(number=2))
    assert world.status.pipeline == before
