"""What the answer to a call makes of the status."""

import datetime
from dataclasses import dataclass, replace

from pipeline_approver.core import present
from pipeline_approver.core.case import Act, Case, ReadCheckpoint, RequestCheckpoint
from pipeline_approver.core.change import clip
from pipeline_approver.core.conditions import MESSAGE_LENGTH
from pipeline_approver.core.follow import checkpoint_interval, record_decision
from pipeline_approver.core.status import CheckpointStep, Decision, Outcome, Status, Verdict
from pipeline_approver.core.times import round_up

LONGEST_BACKOFF = datetime.timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Feldera took the call; the number and process of the checkpoint where the answer names them."""

    number: int | None = None
    incarnation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Feldera said no, and the same call would be refused again."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """This edition of Feldera has no such thing."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotApplied:
    """The call certainly had no effect, and may be made again later."""

    message: str
    retry_after: datetime.timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ambiguous:
    """The call may have been carried out. Only reading Feldera tells."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The answer to `ReadCheckpoint`: highest completed number, and the failure of ours if it failed."""

    success: int | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherProcess:
    """The answer to `ReadCheckpoint`: the process that took the request is gone."""


Answer = Accepted | Refused | Unsupported | NotApplied | Ambiguous | Progress | OtherProcess


def settle(case: Case, action: Act | RequestCheckpoint | ReadCheckpoint, answer: Answer) -> Status:
    """The next status; unchanged when the decision that was acted on is no longer the recorded one."""
    decision = case.status.decision
    if decision is None or decision.request_id != action.request_id:
        return case.status
    if isinstance(action, Act):
        if decision.outcome is not Outcome.SENDING or decision.attempts != action.attempt:
            return case.status
        settled = _settle_call(case, decision, answer)
    else:
        if decision.verdict is not Verdict.APPROVED:
            return case.status
        settled = _settle_checkpoint(case, decision, answer)
    status = case.status
    if settled == decision and not isinstance(answer, Accepted):
        return status
    if isinstance(answer, Accepted) and answer.number is not None:
        status = replace(
            status,
            checkpoint_sequence_number=answer.number,
            checkpoint_incarnation=clip(answer.incarnation, 64),
        )
    status = record_decision(status, settled)
    if settled.outcome is not Outcome.SENDING and isinstance(action, Act) and not isinstance(answer, Refused):
        status = replace(status, request=None)
    facts = present.describe_pipeline(case)
    if facts is not None and facts.deployment_id == settled.deployment_id:
        # Another deployment is another story: the next decision tells it.
        status = replace(status, pipeline=facts)
    status = replace(status, observed_generation=case.resource.generation)
    return present.present(case, status, hold=None)


def _settle_call(case: Case, decision: Decision, answer: Answer) -> Decision:
    if isinstance(answer, Ambiguous):
        return _tell(decision, f"{answer.message}; reading the pipeline before trying again")
    decision = replace(decision, unanswered=False)
    match answer:
        case Accepted():
            resend = round_up(case.now + case.rules.resend)
            return replace(decision, outcome=Outcome.SENT, retry_at=resend, message="")
        case Refused(message=message) | Unsupported(message=message):
            return _tell(replace(decision, outcome=Outcome.FAILED, retry_at=None), message)
        case NotApplied(message=message, retry_after=retry_after):
            back_off = min(datetime.timedelta(seconds=2 ** min(decision.attempts - 1, 10)), LONGEST_BACKOFF)
            pause = max(retry_after or back_off, back_off)
            return _tell(replace(decision, retry_at=round_up(case.now + pause)), message)
    return decision


def _settle_checkpoint(case: Case, decision: Decision, answer: Answer) -> Decision:
    later = round_up(case.now + checkpoint_interval(case))
    done = replace(decision, outcome=Outcome.BOOTSTRAPPED, unanswered=False, retry_at=None)
    match answer:
        case Accepted(number=number) if number is not None:
            return replace(done, checkpoint=CheckpointStep.REQUESTED, message="")
        case Unsupported():
            return replace(done, checkpoint=CheckpointStep.UNSUPPORTED)
        case Refused(message=message):
            return _tell(replace(done, checkpoint=CheckpointStep.FAILED), message)
        case Progress(failure=str(failure)):
            return _tell(replace(done, checkpoint=CheckpointStep.FAILED), failure)
        case Progress(success=int(success)) if success >= (case.status.checkpoint_sequence_number or 0):
            return replace(done, checkpoint=CheckpointStep.DURABLE)
        case OtherProcess():
            return replace(done, checkpoint=CheckpointStep.PENDING)
        case NotApplied() | Ambiguous() | Accepted() if decision.checkpoint is not CheckpointStep.REQUESTED:
            return replace(done, checkpoint=CheckpointStep.PENDING, retry_at=later)
    return decision


def _tell(decision: Decision, message: str) -> Decision:
    return replace(decision, message=clip(message, MESSAGE_LENGTH))
