"""What happened between two statuses, in words for an Event and a log line: one note per transition."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline_approver.core.conditions import CONNECTED, STALLED, find_condition
from pipeline_approver.core.status import IN_FLIGHT, CheckpointStep, Decision, Outcome, Status, Verdict


@dataclass(frozen=True, slots=True)
class Note:
    """One transition. `warning` asks for somebody's attention."""

    reason: str
    message: str
    warning: bool = False


def describe_transition(before: Status, after: Status) -> list[Note]:
    """The notes of one status write, in the order in which things happened."""
    return [
        *_describe_connection(before, after),
        *_describe_request(before, after),
        *_describe_decision(before.decision, after),
        *_describe_checkpoint(before, after),
        *(
            Note("AnnotationIgnored", entry.message, warning=True)
            for entry in after.ignored
            if entry not in before.ignored
        ),
    ]


def _describe_connection(before: Status, after: Status) -> Iterator[Note]:
    old, new = (find_condition(status.conditions, CONNECTED) for status in (before, after))
    if new is not None and (old.status if old else "True") != new.status:
        if new.status == "False":
            yield Note(new.reason, f"no connection to Feldera: {new.message}", warning=True)
        else:
            yield Note("Connected", "Feldera answers again")
    old, new = (find_condition(status.conditions, STALLED) for status in (before, after))
    if new is not None and (old is None or old.reason != new.reason):
        yield Note(new.reason, new.message, warning=True)


def _describe_request(before: Status, after: Status) -> Iterator[Note]:
    old, new = before.request, after.request
    if old is not None and (new is None or new.id != old.id):
        decisions = [*after.history, *([after.decision] if after.decision else [])]
        if not any(decision.request_id == old.id for decision in decisions):
            yield Note("RequestWithdrawn", f"request {old.id} no longer waits, and nobody decided it")
    if new is not None and (old is None or new.id != old.id):
        yield Note(
            "ApprovalRequired",
            f"request {new.id} waits for approval ({new.risk}: {new.summary}; outputs {new.outputs.value})",
        )


def _describe_decision(old: Decision | None, after: Status) -> Iterator[Note]:
    new = after.decision
    if new is None or new == old:
        return
    what = f"request {new.request_id}"
    is_same = old is not None and (old.request_id, old.verdict, old.at) == (
        new.request_id,
        new.verdict,
        new.at,
    )
    if not is_same:
        yield Note(new.verdict.value, f"{what} was {new.verdict.value.lower()} {_describe_author(new)}")
    elif old is not None and new.attempts > old.attempts:
        if old.outcome is Outcome.SENDING:
            # Whether the attempts before reached Feldera is not known, or known not to be so.
            yield Note("DecisionRetried", f"{what}: attempt {new.attempts}")
        else:
            yield Note("DecisionReplayed", f"{what} asks again and gets the recorded decision again")
    if is_same and old is not None and old.outcome is new.outcome:
        if new.outcome in IN_FLIGHT and new.message and new.message != old.message:
            yield Note("NotSentYet", f"{what}: {new.message}", warning=True)
        return
    match new.outcome:
        case Outcome.SENT:
            verb = "bootstraps" if new.verdict is Verdict.APPROVED else "is being stopped"
            yield Note(
                "Bootstrapping" if new.verdict is Verdict.APPROVED else "Stopping",
                f"{what}: the pipeline {verb}",
            )
        case Outcome.BOOTSTRAPPED:
            yield Note("Bootstrapped", f"{what}: the pipeline runs its new program")
        case Outcome.STOPPED:
            yield Note("Stopped", f"{what}: the pipeline was stopped")
        case Outcome.FAILED | Outcome.SUPERSEDED:
            yield Note(new.outcome.value, f"{what}: {new.message}", warning=True)


def _describe_author(decision: Decision) -> str:
    by = decision.by
    if by.policy:
        return f"by policy {by.policy}"
    if by.user:
        return f"by {by.user}" + (f" (field manager {by.manager})" if by.manager else "")
    return f"by annotation (field manager {by.manager})" if by.manager else "by annotation"


def _describe_checkpoint(before: Status, after: Status) -> Iterator[Note]:
    old, new = before.checkpoint_sequence_number, after.checkpoint_sequence_number
    if new is not None and new != old:
        yield Note("CheckpointRecorded", f"checkpoint_sequence_number is {new}")
    step = after.decision.checkpoint if after.decision else None
    if step is None or (before.decision is not None and before.decision.checkpoint is step):
        return
    match step:
        case CheckpointStep.DURABLE:
            yield Note("CheckpointComplete", f"checkpoint {new} is complete: the approval survives a restart")
        case CheckpointStep.UNSUPPORTED:
            text = "this edition of Feldera has no checkpoints, so a restart asks for approval again"
            yield Note("CheckpointsUnsupported", text, warning=True)
        case CheckpointStep.FAILED if after.decision is not None:
            yield Note("CheckpointFailed", after.decision.message, warning=True)
