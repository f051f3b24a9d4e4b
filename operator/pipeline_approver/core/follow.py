"""What becomes of a recorded decision: read from Feldera, never guessed."""

import datetime
from dataclasses import dataclass, replace

from pipeline_approver.core.case import (
    APPROVED,
    AWAITING_APPROVAL,
    PROVISIONED,
    RUNNING,
    STOPPED,
    Action,
    Case,
    Problem,
    ReadCheckpoint,
    RequestCheckpoint,
    Rules,
)
from pipeline_approver.core.change import build_request_id, clip, digest_change
from pipeline_approver.core.conditions import CHECKPOINT_DURABLE, MESSAGE_LENGTH, find_condition
from pipeline_approver.core.observation import PipelineView
from pipeline_approver.core.resource import CheckpointMode
from pipeline_approver.core.status import (
    HISTORY_LENGTH,
    IN_FLIGHT,
    CheckpointStep,
    Decision,
    Handled,
    Outcome,
    Status,
    Verdict,
)
from pipeline_approver.core.times import Moment

LONGEST_PAUSE = datetime.timedelta(minutes=5)
"""No pause that is written into a status is longer; `Retry-After` is cut to it as well."""
SOONEST_CHECKPOINT_READ = datetime.timedelta(seconds=1)
LATEST_CHECKPOINT_READ = datetime.timedelta(minutes=5)
GONE = "there is no pipeline of that name in Feldera any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one rule answers."""

    unchanged: bool = False
    """The status stays as it is."""
    decision: Decision | None = None
    """The decision as it is recorded from now on."""
    attempt: Decision | None = None
    """A recorded decision that may be sent (again) now."""
    handled: Handled | None = None
    action: Action | None = None
    recheck_at: Moment | None = None
    hold: Problem | None = None
    """Why the request that waits is not decided."""
    keep_request: bool = False
    """Feldera does not show the request just now, and that withdraws nothing."""


def follow_decision(case: Case) -> Step | None:
    """The next step of a decision that is not at its end; None when there is none."""
    decision = case.status.decision
    if decision is None or not (decision.outcome in IN_FLIGHT or _awaits_checkpoint(decision)):
        return None
    if case.view is not None and not _is_about(decision, case.resource.uid, case.view):
        return _leave(decision)
    if decision.outcome in IN_FLIGHT:
        approved = decision.verdict is Verdict.APPROVED
        return _follow_approval(case, decision) if approved else _follow_rejection(case, decision)
    return _follow_checkpoint(case, decision)


def _awaits_checkpoint(decision: Decision) -> bool:
    pending = (CheckpointStep.PENDING, CheckpointStep.REQUESTED)
    return decision.outcome is Outcome.BOOTSTRAPPED and decision.checkpoint in pending


def _is_about(decision: Decision, uid: str, view: PipelineView) -> bool:
    """Whether this is the pipeline that was judged: the name or the connection may lead to another one by now."""
    if view.deployment_id == decision.deployment_id:
        return True
    request_id = build_request_id(
        uid=uid, pipeline_id=view.id, deployment_id=decision.deployment_id, digest=decision.digest
    )
    return request_id == decision.request_id


def _leave(decision: Decision) -> Step:
    """What another pipeline does is no outcome of a decision, and says nothing about it."""
    why = f"the Pipeline stands for another pipeline now, and not for that of deployment {decision.deployment_id}"
    if decision.outcome in IN_FLIGHT:
        return _end(decision, Outcome.SUPERSEDED, f"what came of it was not seen: {why}")
    return _lose_checkpoint(decision, f"whether the checkpoint is complete was not seen: {why}")


def measure_pause(decision: Decision, *, now: Moment, rules: Rules, own: bool) -> datetime.timedelta:
    """How long to wait before a decision that was recorded just now may be sent again.

    `own`: this process has recorded it, so the time in it is by the same clock. Another process may have a clock that
    is wrong by any amount, and a call under way: what counts then is how long that may take, from the moment when its
    record was seen.
    """
    if decision.retry_at is None:
        return datetime.timedelta()
    left = max(decision.retry_at - now, datetime.timedelta())
    if own:
        return left
    least = datetime.timedelta()
    if decision.outcome is Outcome.SENT:
        least = rules.resend
    elif decision.unanswered:
        least = rules.settle
    return min(max(left, least), max(LONGEST_PAUSE, least))


def record_decision(before: Status, decision: Decision | None) -> Status:
    """The status with a decision in it; one that came to its end is appended to the history."""
    if decision is None or decision == before.decision:
        return before
    status = replace(before, decision=decision)
    fresh = before.decision is None or _identity(before.decision) != _identity(decision)
    if fresh and decision.verdict is Verdict.APPROVED:
        # The number spoke of an earlier process.
        status = replace(status, checkpoint_sequence_number=None, checkpoint_incarnation="")
    ended = decision.outcome not in IN_FLIGHT
    was_ended = before.decision is not None and not fresh and before.decision.outcome not in IN_FLIGHT
    if ended and not was_ended:
        entry = replace(
            decision,
            attempts=0,
            retry_at=None,
            checkpoint=None,
            checkpoint_sequence_number=status.checkpoint_sequence_number,
        )
        status = replace(status, history=(*before.history, entry)[-HISTORY_LENGTH:])
    return status


def _identity(decision: Decision) -> tuple[object, ...]:
    return (decision.request_id, decision.verdict, decision.at, decision.by)


def _follow_approval(case: Case, decision: Decision) -> Step:
    view = case.view
    if view is None:
        return _end(decision, Outcome.SUPERSEDED, GONE)
    if view.deployment_id != decision.deployment_id:
        return _end_elsewhere(decision, view)
    if view.status == AWAITING_APPROVAL:
        return _follow_waiting(case, decision, view)
    if view.status in RUNNING:
        return _finish_bootstrap(case, decision)
    if view.deployment_error is not None and view.resources_desired_status != PROVISIONED:
        return _end(decision, Outcome.FAILED, _explain_error(view))
    if decision.outcome is Outcome.SENDING and view.status in APPROVED:
        message = "Feldera's answer is not known, but the pipeline has left AwaitingApproval"
        return Step(decision=replace(decision, outcome=Outcome.SENT, unanswered=False, message=message))
    return Step(keep_request=True)


def _follow_waiting(case: Case, decision: Decision, view: PipelineView) -> Step:
    """The pipeline waits, and the decision is on its way: is it time to send it (again)?"""
    if case.observation.program is None or view.diff is None:
        return Step()
    leaving = view.resources_desired_status != PROVISIONED or (
        decision.verdict is Verdict.APPROVED and view.desired_status not in RUNNING
    )
    if leaving:
        return Step()
    if digest_change(diff=view.diff, program=case.observation.program, outputs=decision.outputs) != decision.digest:
        what = "the pipeline came up from another state and waits for another change"
        return _end(decision, Outcome.SUPERSEDED, what)
    if case.resource.suspend:
        hold = Problem(reason="Suspended", message="spec.suspend is true, so the decision is not sent")
        return Step(hold=hold)
    if case.retry_at is not None and case.now < case.retry_at:
        return Step(recheck_at=case.retry_at)
    return Step(attempt=decision)


def _finish_bootstrap(case: Case, decision: Decision) -> Step:
    message = decision.message if decision.outcome is Outcome.SENT else ""
    done = replace(decision, outcome=Outcome.BOOTSTRAPPED, message=message, unanswered=False, retry_at=None)
    if case.resource.checkpoint is CheckpointMode.NEVER:
        return Step(decision=done)
    if case.status.checkpoint_sequence_number is not None:
        # The answer to the approval named the checkpoint.
        return Step(decision=replace(done, checkpoint=CheckpointStep.REQUESTED))
    if case.resource.suspend:
        return Step(decision=replace(done, checkpoint=CheckpointStep.PENDING))
    # The answer is written together with the outcome: one write less, and a crash in between asks once more.
    return Step(unchanged=True, action=RequestCheckpoint(request_id=decision.request_id))


def _follow_rejection(case: Case, decision: Decision) -> Step:
    view = case.view
    if view is None:
        return _end(decision, Outcome.SUPERSEDED, GONE)
    if view.deployment_id != decision.deployment_id:
        if decision.outcome is Outcome.SENT or view.deployment_id is None:
            return _end(decision, Outcome.STOPPED, "")
        return _end_elsewhere(decision, view)
    if view.status == STOPPED:
        return _end(decision, Outcome.STOPPED, "")
    if view.status == AWAITING_APPROVAL:
        return _follow_waiting(case, decision, view)
    if view.status in (*RUNNING, *APPROVED) and view.resources_desired_status == PROVISIONED:
        return _end(decision, Outcome.SUPERSEDED, "somebody else approved before the pipeline could be stopped")
    return Step(keep_request=True)


def _follow_checkpoint(case: Case, decision: Decision) -> Step | None:
    """The checkpoint after a bootstrap; never in the way of another rule for long: a new request ends it."""
    view = case.view
    if view is None or view.deployment_id != decision.deployment_id:
        return _lose_checkpoint(decision, "the pipeline was stopped before the checkpoint was known to be complete")
    if view.status not in RUNNING or case.resource.suspend:
        return None
    if case.retry_at is not None and case.now < case.retry_at:
        return Step(recheck_at=case.retry_at)
    if decision.checkpoint is CheckpointStep.PENDING:
        return Step(action=RequestCheckpoint(request_id=decision.request_id))
    number = case.status.checkpoint_sequence_number
    if number is None:
        return Step(decision=replace(decision, checkpoint=CheckpointStep.PENDING))
    return Step(
        action=ReadCheckpoint(
            request_id=decision.request_id, number=number, incarnation=case.status.checkpoint_incarnation
        ),
        recheck_at=case.now + checkpoint_interval(case),
    )


def _lose_checkpoint(decision: Decision, message: str) -> Step:
    return Step(decision=replace(decision, checkpoint=CheckpointStep.FAILED, retry_at=None, message=message))


def checkpoint_interval(case: Case) -> datetime.timedelta:
    """How long to wait before asking for the checkpoint again: as long as it has taken so far, within bounds."""
    condition = find_condition(case.status.conditions, CHECKPOINT_DURABLE)
    since = condition.since if condition and condition.since else case.now
    return min(max(case.now - since, SOONEST_CHECKPOINT_READ), LATEST_CHECKPOINT_READ)


def _end_elsewhere(decision: Decision, view: PipelineView) -> Step:
    """The deployment that was judged is gone."""
    if view.deployment_id is None:
        if view.deployment_error is not None and decision.outcome is Outcome.SENT:
            return _end(decision, Outcome.FAILED, _explain_error(view))
        # Whose error it is nobody knows: a later deployment may have come and died unseen.
        error = f"; its last error is {_explain_error(view)}" if view.deployment_error is not None else ""
        what = f"the pipeline was stopped before it had bootstrapped{error}"
        return _end(decision, Outcome.SUPERSEDED, what)
    return _end(
        decision,
        Outcome.SUPERSEDED,
        f"the pipeline was started again as deployment {view.deployment_id} while the decision was being carried"
        " out; check whether that deployment bootstrapped a change that nobody approved",
    )


def _end(decision: Decision, outcome: Outcome, message: str) -> Step:
    ended = replace(decision, outcome=outcome, message=clip(message, MESSAGE_LENGTH), unanswered=False, retry_at=None)
    return Step(decision=ended)


def _explain_error(view: PipelineView) -> str:
    error = view.deployment_error
    return f"{error.code}: {error.message}" if error else ""
