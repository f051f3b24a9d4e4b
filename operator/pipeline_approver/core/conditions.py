"""Conditions as Kubernetes and kstatus understand them.

`Ready`, `Connected`, `ApprovalRequired` and `CheckpointDurable` stay once they are known; `Reconciling` and
`Stalled` exist only while True. A transition time moves only with the status.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from pipeline_approver.core import reading
from pipeline_approver.core.change import clip
from pipeline_approver.core.times import Moment, parse_time, render_time, round_down

READY = "Ready"
CONNECTED = "Connected"
APPROVAL_REQUIRED = "ApprovalRequired"
CHECKPOINT_DURABLE = "CheckpointDurable"
RECONCILING = "Reconciling"
STALLED = "Stalled"

MESSAGE_LENGTH = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One entry of `status.conditions`; `status` is "True", "False" or "Unknown"."""

    type: str
    status: str
    reason: str
    message: str = ""
    observed_generation: int = 0
    since: Moment | None = None


def build_condition(type_: str, status: bool | None, reason: str, message: str = "") -> Condition:
    """A condition without its time and generation: `merge_conditions` adds them."""
    word = "Unknown" if status is None else str(status)
    return Condition(type=type_, status=word, reason=reason, message=clip(message, MESSAGE_LENGTH))


def merge_conditions(
    previous: Iterable[Condition], wanted: Iterable[Condition], *, generation: int, now: Moment
) -> tuple[Condition, ...]:
    """The wanted conditions, each with the time since when it has its status."""
    before = {condition.type: condition for condition in previous}
    merged = []
    for condition in wanted:
        old = before.get(condition.type)
        kept = old is not None and old.status == condition.status and old.since is not None
        since = old.since if kept and old is not None else round_down(now)
        merged.append(replace(condition, since=since, observed_generation=generation))
    return tuple(merged)


def find_condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of one type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)


def parse_condition(value: object) -> Condition | None:
    """Read one entry; None when it is not a condition."""
    if not isinstance(value, dict):
        return None
    texts = {key: value.get(key) for key in ("type", "status", "reason")}
    if not all(isinstance(text, str) for text in texts.values()):
        return None
    return Condition(
        type=str(texts["type"]),
        status=str(texts["status"]),
        reason=str(texts["reason"]),
        message=reading.text(value.get("message")),
        observed_generation=reading.integer(value.get("observedGeneration")) or 0,
        since=parse_time(value.get("lastTransitionTime")),
    )


def render_condition(condition: Condition) -> dict[str, Any]:
    """The entry as it goes into `status.conditions`."""
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": condition.observed_generation,
        **({"lastTransitionTime": render_time(condition.since)} if condition.since else {}),
    }
