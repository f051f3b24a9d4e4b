"""What becomes of a decision once it is recorded: sent, sent again, followed to its end."""

import dataclasses
from typing import Any

import pytest

from pipeline_approver.core.case import Act, Problem
from pipeline_approver.core.observation import PipelineView
from pipeline_approver.core.settle import Accepted, Ambiguous, Answer, NotApplied, Refused
from pipeline_approver.core.status import CheckpointStep, Outcome, Verdict
from support.cases import (
    BROKEN,
    NEXT_DEPLOYMENT,
    PROGRAM,
    RUNNING,
    STOPPED,
    VIEW,
    World,
    approved,
    make_diff,
    shown,
    token_for,
)


def test_one_answer_per_request_even_while_feldera_lags() -> None:
    world = approved()
    for _ in range(10):
        assert world.later(5).step() is None
    assert world.status.decision.outcome is Outcome.SENT  # type: ignore[union-attr]


@pytest.mark.parametrize("annotation", ["approve", "reject"])
@pytest.mark.parametrize("token", ["true", "true@42", "id", "digest"])
def test_a_token_that_is_being_honoured_is_not_called_ignored(token: str, annotation: str) -> None:
    """Feldera may show the request for a while after it took the call."""
    world = shown(checkpoint="Never")
    world.set(**{annotation: token_for(world, token)})
    action = world.step()
    for _ in range(2):
        assert world.step() is None
        assert world.status.ignored == ()
        world.answer(action, Accepted())
    world.set(**RUNNING).step()
    assert world.status.ignored == ()


def test_a_request_that_is_asked_again_under_the_same_id_gets_the_recorded_decision() -> None:
    world = approved(checkpoint="Never")
    world.set(**RUNNING).step()
    assert world.status.decision.outcome is Outcome.BOOTSTRAPPED  # type: ignore[union-attr]
    action = world.set(view=VIEW, approve=None).step()
    assert isinstance(action, Act)
    assert action.attempt == 2
    assert world.status.decision.outcome is Outcome.SENDING  # type: ignore[union-attr]


def test_a_call_whose_fate_is_unknown_is_made_again_only_after_it_must_be_over() -> None:
    world = shown()
    world.set(approve="true")
    world.answer(world.step(), Ambiguous(message="timeout"))
    assert world.later(19).step() is None
    assert isinstance(world.later(2).step(), Act)


def test_a_call_that_had_no_effect_is_made_again_soon() -> None:
    world = shown()
    world.set(approve="true")
    world.answer(world.step(), NotApplied(message="refused connection"))
    assert world.step() is None
    assert isinstance(world.later(2).step(), Act)


def test_a_refusal_ends_the_decision_and_the_same_token_does_not_repeat_it() -> None:
    world = shown()
    digest = world.status.request.digest  # type: ignore[union-attr]
    world.set(approve=digest)
    world.answer(world.step(), Refused(message="InvalidBootstrapConfig"))
    assert world.status.decision.outcome is Outcome.FAILED  # type: ignore[union-attr]
    assert world.later(3600).step() is None
    assert world.status.ignored[0].reason == "UsedUp"
    world.set(approve=None).step()
    assert isinstance(world.set(approve=digest).step(), Act)


def test_nobody_acts_on_a_suspended_pipeline_although_it_was_decided_before() -> None:
    world = shown()
    world.set(approve="true")
    world.answer(world.step(), NotApplied(message="busy"))
    assert world.set(suspend=True).later(60).step() is None


ENDINGS: list[tuple[str, dict[str, Any], Outcome]] = [
    ("runs", RUNNING, Outcome.BOOTSTRAPPED),
    ("pauses", {"status": "Paused", "diff": None}, Outcome.BOOTSTRAPPED),
    ("stopped", STOPPED, Outcome.SUPERSEDED),
    ("died", {**STOPPED, "deployment_error": BROKEN}, Outcome.FAILED),
    ("started again", {**NEXT_DEPLOYMENT, "status": "Initializing", "diff": None}, Outcome.SUPERSEDED),
    ("deleted", {"view": None, "absent": True}, Outcome.SUPERSEDED),
    ("still waits", {}, Outcome.SENT),
    ("unavailable", {"status": "Unavailable", "diff": None}, Outcome.SENT),
    ("unknown word", {"status": "Teleporting", "diff": None}, Outcome.SENT),
]


@pytest.mark.parametrize(("facts", "outcome"), [row[1:] for row in ENDINGS], ids=[row[0] for row in ENDINGS])
def test_an_approval_is_followed_to_its_end(facts: dict[str, Any], outcome: Outcome) -> None:
    world = approved(checkpoint="Never")
    world.set(**facts)
    assert world.step() is None
    assert world.status.decision.outcome is outcome  # type: ignore[union-attr]
    assert (len(world.status.history) == 1) is (outcome is not Outcome.SENT)


@pytest.mark.parametrize("verdict", ["approve", "reject"])
@pytest.mark.parametrize("answer", [Accepted(), NotApplied(message="busy"), Ambiguous(message="timeout")])
def test_a_deployment_that_comes_to_wait_for_another_change_ends_the_decision(verdict: str, answer: Answer) -> None:
    """Its pod has lost its storage, and pulled another state than before. It was once tried for ever."""
    world = shown()
    world.set(**{verdict: world.request_id})
    world.answer(world.step(), answer)
    world.set(diff=make_diff(removed_tables=["orders"]))
    assert world.step() is None
    assert world.status.decision.outcome is Outcome.SUPERSEDED  # type: ignore[union-attr]
    assert world.status.decision.message == "the pipeline came up from another state and waits for another change"  # type: ignore[union-attr]
    assert [ignored.reason for ignored in world.status.ignored] == ["StaleRequest"]
    assert isinstance(world.set(**{verdict: world.request_id}).step(), Act)


OTHER = dataclasses.replace(VIEW, id="another", deployment_id="its-own")
ELSEWHERE = {
    "runs": dataclasses.replace(OTHER, **RUNNING),
    "waits": OTHER,
    "is stopped": dataclasses.replace(OTHER, **STOPPED),
    "has failed": dataclasses.replace(OTHER, **{**STOPPED, "deployment_error": BROKEN}),
}


@pytest.mark.parametrize("verdict", ["approve", "reject"])
@pytest.mark.parametrize("answer", [Accepted(), NotApplied(message="busy"), Ambiguous(message="timeout")])
@pytest.mark.parametrize("view", ELSEWHERE.values(), ids=ELSEWHERE)
def test_what_another_pipeline_does_is_no_outcome(verdict: str, answer: Answer, view: PipelineView) -> None:
    """spec.pipelineName was changed. A rejection once counted as carried out, because the other one was stopped."""
    world = shown()
    world.set(**{verdict: world.request_id})
    world.answer(world.step(), answer)
    assert world.set(view=view).step() is None
    assert world.status.decision.outcome is Outcome.SUPERSEDED  # type: ignore[union-attr]
    assert "stands for another pipeline now" in world.status.decision.message  # type: ignore[union-attr]
    assert len(world.status.history) == 1


def test_the_checkpoint_of_another_pipeline_is_not_waited_for() -> None:
    world = approved()
    world.answer(world.set(**RUNNING).step(), Accepted())
    assert world.set(view=ELSEWHERE["runs"]).step() is None
    assert world.status.decision.outcome is Outcome.BOOTSTRAPPED  # type: ignore[union-attr]
    assert world.status.decision.checkpoint is CheckpointStep.FAILED  # type: ignore[union-attr]
    assert "stands for another pipeline now" in world.status.decision.message  # type: ignore[union-attr]


def test_an_intent_without_an_answer_is_settled_by_what_feldera_shows() -> None:
    world = shown(checkpoint="Never")
    world.set(approve="true").step()
    world.set(**RUNNING)
    assert world.step() is None
    assert world.status.decision.outcome is Outcome.BOOTSTRAPPED  # type: ignore[union-attr]


def test_a_rejection_stops_the_pipeline_and_judges_only_this_request() -> None:
    world = shown()
    world.set(reject=world.request_id)
    world.answer(world.step(), Accepted())
    world.set(**STOPPED).step()
    assert world.status.decision.outcome is Outcome.STOPPED  # type: ignore[union-attr]
    world.set(view=dataclasses.replace(VIEW, **NEXT_DEPLOYMENT), approve="true", reject=None)
    assert isinstance(world.step(), Act)


def test_the_history_keeps_the_last_ten() -> None:
    world = World(checkpoint="Never")
    for number in range(12):
        world.set(view=dataclasses.replace(VIEW, deployment_id=f"d{number}"), approve=f"true@{number}")
        world.answer(world.step(), Accepted())
        world.set(**RUNNING).step()
    assert len(world.status.history) == 10
    assert world.status.history[-1].deployment_id == "d11"


REJECTED: list[tuple[str, dict[str, Any], Answer, Outcome]] = [
    ("stopped", STOPPED, Accepted(), Outcome.STOPPED),
    ("stopped, unanswered", STOPPED, Ambiguous(message="?"), Outcome.STOPPED),
    ("still deployed but stopped", {"status": "Stopped", "diff": None}, Accepted(), Outcome.STOPPED),
    ("stopping", {"status": "Stopping", "resources_desired_status": "Stopped"}, Accepted(), Outcome.SENT),
    ("started again", {**NEXT_DEPLOYMENT, "status": "Initializing", "diff": None}, Accepted(), Outcome.STOPPED),
    ("started again, unanswered", NEXT_DEPLOYMENT, Ambiguous(message="?"), Outcome.SUPERSEDED),
    ("deleted", {"view": None, "absent": True}, Accepted(), Outcome.SUPERSEDED),
    ("approved by somebody", {"status": "Bootstrapping", "diff": None}, Accepted(), Outcome.SUPERSEDED),
    ("runs", RUNNING, Accepted(), Outcome.SUPERSEDED),
    ("runs while it stops", {**RUNNING, "resources_desired_status": "Stopped"}, Accepted(), Outcome.SENT),
]


@pytest.mark.parametrize(
    ("facts", "answer", "outcome"), [row[1:] for row in REJECTED], ids=[row[0] for row in REJECTED]
)
def test_a_rejection_is_followed_to_its_end(facts: dict[str, Any], answer: Answer, outcome: Outcome) -> None:
    world = shown()
    world.set(reject=world.request_id)
    world.answer(world.step(), answer).set(**facts)
    assert world.step() is None
    decision = world.status.decision
    assert decision is not None
    assert decision.outcome is outcome
    if outcome is not Outcome.SENT:
        assert (decision.unanswered, decision.retry_at) == (False, None)
        assert [entry.outcome for entry in world.status.history] == [outcome]


FAILING = {"status": "Stopping", "resources_desired_status": "Stopped", "deployment_error": BROKEN, "diff": None}


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        (FAILING, Outcome.FAILED),
        ({**FAILING, "resources_desired_status": "Provisioned"}, Outcome.SENT),
        ({**FAILING, "deployment_error": None}, Outcome.SENT),
    ],
    ids=["dies", "an old error", "is stopped"],
)
def test_an_approval_has_failed_when_its_deployment_dies_of_an_error(facts: dict[str, Any], outcome: Outcome) -> None:
    world = approved().set(**facts)
    assert world.step() is None
    assert world.status.decision.outcome is outcome  # type: ignore[union-attr]
    if outcome is Outcome.FAILED:
        assert world.status.decision.message == "InitializationError: cannot open sink"  # type: ignore[union-attr]


def test_an_approval_without_an_answer_is_known_to_be_taken_when_the_pipeline_bootstraps() -> None:
    world = shown()
    world.set(approve="true")
    world.answer(world.step(), Ambiguous(message="timeout"))
    assert world.set(status="Bootstrapping", diff=None).step() is None
    decision = world.status.decision
    assert decision is not None
    assert (decision.outcome, decision.unanswered) == (Outcome.SENT, False)
    assert decision.message == "Feldera's answer is not known, but the pipeline has left AwaitingApproval"
    world.set(**RUNNING).answer(world.step(), Accepted(number=1))
    assert world.status.decision.outcome is Outcome.BOOTSTRAPPED  # type: ignore[union-attr]


@pytest.mark.parametrize("verdict", ["approve", "reject"])
@pytest.mark.parametrize(
    "facts",
    [
        {"diff": None},
        {"program": None, "program_problem": Problem(reason="ProgramUnreadable", message="HTTP 500")},
        {"resources_desired_status": "Stopped"},
        {"suspend": True},
    ],
    ids=["no diff", "no program", "being stopped", "suspended"],
)
def test_a_decision_is_not_sent_again_while_it_would_be_wrong_and_is_afterwards(
    facts: dict[str, Any], verdict: str
) -> None:
    world = shown()
    waiting = world.request_id
    world.set(**{verdict: waiting})
    world.answer(world.step(), NotApplied(message="busy")).later(60)
    assert world.set(**facts).step() is None
    assert world.request_id == waiting
    assert isinstance(world.set(view=VIEW, program=PROGRAM, program_problem=None, suspend=False).step(), Act)


def test_only_an_approval_waits_until_the_pipeline_is_wanted_running_again() -> None:
    for verdict, acts in (("approve", False), ("reject", True)):
        world = shown()
        world.set(**{verdict: world.request_id})
        world.answer(world.step(), NotApplied(message="busy")).later(60)
        assert isinstance(world.set(desired_status="Standby").step(), Act) is acts
        assert world.status.decision.outcome is Outcome.SENDING  # type: ignore[union-attr]


def test_the_history_says_how_a_decision_ended_and_nothing_of_how_it_was_carried_out() -> None:
    world = shown(checkpoint="Never")
    world.set(approve="true")
    world.answer(world.step(), NotApplied(message="busy"))
    action = world.later(60).step()
    assert world.status.decision.message == "busy"  # type: ignore[union-attr]
    world.answer(action, Accepted(number=4))
    assert world.status.decision.message == ""  # type: ignore[union-attr]
    world.set(**RUNNING).step()
    [entry] = world.status.history
    assert (entry.verdict, entry.outcome) == (Verdict.APPROVED, Outcome.BOOTSTRAPPED)
    assert (entry.attempts, entry.retry_at, entry.checkpoint) == (0, None, None)
    assert entry.checkpoint_sequence_number == 4
    assert world.status.decision.attempts == 2  # type: ignore[union-attr]
