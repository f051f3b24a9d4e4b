"""The checkpoint that makes an approval durable: requested once, read until it is complete, lost with its process."""

import datetime
from typing import Any

import pytest

from pipeline_approver.core.case import Act, ReadCheckpoint, RequestCheckpoint
from pipeline_approver.core.settle import (
    Accepted,
    Ambiguous,
    Answer,
    NotApplied,
    OtherProcess,
    Progress,
    Refused,
    Unsupported,
)
from pipeline_approver.core.status import CheckpointStep, Outcome
from support.cases import NEXT_DEPLOYMENT, NOW, RUNNING, STOPPED, VIEW, World, approved, decision_of

DURABLE = "CheckpointDurable"


def requested(number: int = 7) -> World:
    """A world whose pipeline runs, and has been asked for a checkpoint."""
    world = approved().set(**RUNNING)
    action = world.step()
    assert isinstance(action, RequestCheckpoint)
    return world.answer(action, Accepted(number=number, incarnation="process-1"))


def test_a_checkpoint_is_requested_when_the_pipeline_runs_and_its_number_recorded() -> None:
    world = requested(number=0)
    assert decision_of(world).outcome is Outcome.BOOTSTRAPPED
    assert decision_of(world).checkpoint is CheckpointStep.REQUESTED
    assert (world.status.checkpoint_sequence_number, world.status.checkpoint_incarnation) == (0, "process-1")
    assert world.condition(DURABLE) == ("False", "CheckpointRequested")
    assert [(entry.checkpoint_sequence_number, entry.attempts) for entry in world.status.history] == [(0, 0)]


def test_a_number_in_the_answer_to_the_approval_needs_no_request() -> None:
    world = World().set(approve="true")
    world.answer(world.step(), Accepted(number=3)).set(**RUNNING)
    assert world.step() is None
    assert decision_of(world).checkpoint is CheckpointStep.REQUESTED
    assert world.status.checkpoint_sequence_number == 3
    assert isinstance(world.step(), ReadCheckpoint)


def test_it_is_read_at_once_and_then_after_as_long_as_it_has_taken_so_far() -> None:
    world = requested()
    pauses = []
    for _ in range(12):
        action = world.step()
        assert action == ReadCheckpoint(request_id=decision_of(world).request_id, number=7, incarnation="process-1")
        assert world.recheck_at is not None
        pause = world.recheck_at - world.case.now
        pauses.append(pause.total_seconds())
        world.later(pauses[-1])
    assert pauses == [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@pytest.mark.parametrize(
    ("answer", "step", "reason"),
    [
        (Progress(success=7), CheckpointStep.DURABLE, ("True", "CheckpointComplete")),
        (Progress(success=8), CheckpointStep.DURABLE, ("True", "CheckpointComplete")),
        (Progress(success=6), CheckpointStep.REQUESTED, ("False", "CheckpointRequested")),
        (Progress(), CheckpointStep.REQUESTED, ("False", "CheckpointRequested")),
        (Progress(failure="disk full"), CheckpointStep.FAILED, ("False", "CheckpointFailed")),
        (OtherProcess(), CheckpointStep.PENDING, ("False", "CheckpointPending")),
        (NotApplied(message="busy"), CheckpointStep.REQUESTED, ("False", "CheckpointRequested")),
    ],
)
def test_what_reading_it_says(answer: Answer, step: CheckpointStep, reason: tuple[str, str]) -> None:
    world = requested()
    world.answer(world.step(), answer)
    assert decision_of(world).checkpoint is step
    assert world.condition(DURABLE) == reason
    if isinstance(answer, Progress) and answer.failure:
        assert world.message(DURABLE) == "disk full"
    assert len(world.status.history) == 1


@pytest.mark.parametrize(
    ("answer", "step", "message"),
    [
        (Unsupported(message="no"), CheckpointStep.UNSUPPORTED, "this edition of Feldera has no checkpoints"),
        (Refused(message="InvalidState"), CheckpointStep.FAILED, "InvalidState"),
        (NotApplied(message="busy"), CheckpointStep.PENDING, "a restart before a checkpoint asks for approval again"),
        (Ambiguous(message="?"), CheckpointStep.PENDING, "a restart before a checkpoint asks for approval again"),
        (Accepted(), CheckpointStep.PENDING, "a restart before a checkpoint asks for approval again"),
    ],
)
def test_what_the_request_for_it_is_answered(answer: Answer, step: CheckpointStep, message: str) -> None:
    world = approved().set(**RUNNING)
    world.answer(world.step(), answer)
    assert (decision_of(world).outcome, decision_of(world).unanswered) == (Outcome.BOOTSTRAPPED, False)
    assert decision_of(world).checkpoint is step
    assert world.message(DURABLE).startswith(message)
    assert (decision_of(world).retry_at is not None) is (step is CheckpointStep.PENDING)


def test_one_that_could_not_be_requested_is_requested_again_later() -> None:
    world = approved().set(**RUNNING)
    world.answer(world.step(), NotApplied(message="busy"))
    assert world.step() is None
    assert world.recheck_at == decision_of(world).retry_at == NOW + datetime.timedelta(seconds=1)
    assert isinstance(world.later(1).step(), RequestCheckpoint)


def test_one_that_was_requested_is_not_requested_again_when_reading_it_fails() -> None:
    world = requested()
    world.answer(world.step(), Ambiguous(message="?"))
    assert isinstance(world.later(60).step(), ReadCheckpoint)


def test_suspending_stops_asking_and_nothing_is_lost_by_it() -> None:
    world = approved().set(**RUNNING, suspend=True)
    assert world.step() is None
    assert decision_of(world).checkpoint is CheckpointStep.PENDING
    assert world.later(60).step() is None
    assert isinstance(world.set(suspend=False).step(), RequestCheckpoint)


def test_a_pipeline_that_does_not_run_is_not_asked() -> None:
    world = requested().set(status="Unavailable")
    assert world.step() is None
    assert isinstance(world.set(**RUNNING).step(), ReadCheckpoint)


@pytest.mark.parametrize(
    "facts", [STOPPED, {**NEXT_DEPLOYMENT, **RUNNING}, {"view": None, "absent": True}], ids=["stopped", "next", "gone"]
)
def test_it_is_lost_with_its_deployment(facts: dict[str, Any]) -> None:
    world = requested().set(**facts)
    assert world.step() is None
    assert decision_of(world).checkpoint is CheckpointStep.FAILED
    assert decision_of(world).retry_at is None
    assert world.message(DURABLE) == "the pipeline was stopped before the checkpoint was known to be complete"


def test_the_next_approval_begins_without_the_number_of_the_last() -> None:
    world = requested()
    world.answer(world.step(), Progress(success=7)).set(view=VIEW, **NEXT_DEPLOYMENT, approve=None).step()
    assert world.status.checkpoint_sequence_number == 7
    assert isinstance(world.set(approve="true@2").step(), Act)
    assert (world.status.checkpoint_sequence_number, world.status.checkpoint_incarnation) == (None, "")


def test_a_rejection_keeps_the_number_of_the_last_approval() -> None:
    world = requested()
    world.answer(world.step(), Progress(success=7)).set(view=VIEW, **NEXT_DEPLOYMENT, approve=None)
    world.step()
    assert isinstance(world.set(reject="true").step(), Act)
    assert world.status.checkpoint_sequence_number == 7
