"""`status` of a Pipeline as typed values. `statusjson` reads and writes its JSON.

The status is the operator's only memory: everything that must survive a crash is here.
"""

import enum
from dataclasses import dataclass, replace
from typing import Any

from pipeline_approver.core.change import Outputs
from pipeline_approver.core.conditions import Condition
from pipeline_approver.core.times import Moment
from pipeline_approver.core.tokens import TokenKind, parse_token

HISTORY_LENGTH = 10
REMEMBERED_VALUES = 10


class Verdict(enum.StrEnum):
    """What was decided about a request."""

    APPROVED = "Approved"
    REJECTED = "Rejected"


class Outcome(enum.StrEnum):
    """What came of a decision."""

    SENDING = "Sending"
    """Recorded; the call to Feldera is about to be made, under way, or its answer is not known."""
    SENT = "Sent"
    """Feldera took the call."""
    BOOTSTRAPPED = "Bootstrapped"
    """Approved, and the pipeline reached Running or Paused in the same deployment."""
    STOPPED = "Stopped"
    """Rejected, and the pipeline stopped."""
    FAILED = "Failed"
    """Feldera refused, or the deployment died of an error."""
    SUPERSEDED = "Superseded"
    """The request went away before the decision was carried out."""


IN_FLIGHT = (Outcome.SENDING, Outcome.SENT)


class CheckpointStep(enum.StrEnum):
    """How far the checkpoint is that makes an approval durable."""

    PENDING = "Pending"
    REQUESTED = "Requested"
    DURABLE = "Durable"
    UNSUPPORTED = "Unsupported"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFacts:
    """The pipeline in Feldera that the status speaks of: `status.pipeline`."""

    id: str
    deployment_id: str
    status: str
    program_version: int
    platform_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One pending bootstrap that waits for approval: `status.request`."""

    id: str
    digest: str
    since: Moment
    risk: str
    reasons: tuple[str, ...]
    summary: str
    outputs: Outputs
    change: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who decided: `status.decision.by`."""

    via: str
    user: str = ""
    manager: str = ""
    policy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision and what came of it: `status.decision`, and the entries of `status.history`."""

    request_id: str
    digest: str
    verdict: Verdict
    by: By
    at: Moment
    outcome: Outcome
    deployment_id: str = ""
    reason: str = ""
    outputs: Outputs = Outputs.EMIT
    message: str = ""
    attempts: int = 0
    unanswered: bool = False
    """A call may be under way: it is about to be made, or nobody knows what became of it."""
    retry_at: Moment | None = None
    """No further call is made before this time; it covers calls whose fate is unknown."""
    checkpoint: CheckpointStep | None = None
    checkpoint_sequence_number: int | None = None
    """Only in `status.history`: the number that belonged to this decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """Annotation values that are used up: `status.handled`."""

    approve: str = ""
    reject: str = ""
    approve_before: tuple[str, ...] = ()
    """The one-shot values that were used up before `approve`, newest first; none of them comes back to life while
    the annotation is there in whatever form: a GitOps tool that restores an old value has decided nothing."""
    reject_before: tuple[str, ...] = ()

    def use(self, annotation: str, value: str) -> "Handled":
        """With one more value used up."""
        last, before = self.find(annotation)
        if last != value and parse_token(last).kind is TokenKind.ONE_SHOT:
            before = (last, *before)
        before = tuple(dict.fromkeys(it for it in before if it != value))[:REMEMBERED_VALUES]
        if annotation == "approve":
            return replace(self, approve=value, approve_before=before)
        return replace(self, reject=value, reject_before=before)

    def find(self, annotation: str) -> tuple[str, tuple[str, ...]]:
        """The value of `approve` or `reject` that was used up last, and those before."""
        return (self.approve, self.approve_before) if annotation == "approve" else (self.reject, self.reject_before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """An annotation that decides nothing, and why: an entry of `status.ignored`."""

    annotation: str
    value: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The whole status."""

    observed_generation: int = 0
    state: str = ""
    checkpoint_sequence_number: int | None = None
    checkpoint_incarnation: str = ""
    pipeline: PipelineFacts | None = None
    request: Request | None = None
    decision: Decision | None = None
    handled: Handled = Handled()
    ignored: tuple[Ignored, ...] = ()
    history: tuple[Decision, ...] = ()
    conditions: tuple[Condition, ...] = ()
