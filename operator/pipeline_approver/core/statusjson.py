"""`status` of a Pipeline from and to JSON, and the merge patch between two of them.

Reading is tolerant: a part that is not what this version writes counts as absent.
"""

from collections.abc import Mapping
from typing import Any

from pipeline_approver.core import reading
from pipeline_approver.core.change import Outputs
from pipeline_approver.core.conditions import parse_condition, render_condition
from pipeline_approver.core.status import (
    By,
    CheckpointStep,
    Decision,
    Handled,
    Ignored,
    Outcome,
    PipelineFacts,
    Request,
    Status,
    Verdict,
)
from pipeline_approver.core.times import parse_time, render_time


def parse_status(value: object) -> Status:
    """Read `status` as the API server gives it."""
    status = reading.mapping(value)
    handled = reading.mapping(status.get("handled"))
    number = status.get("checkpoint_sequence_number")
    return Status(
        observed_generation=reading.integer(status.get("observedGeneration")) or 0,
        state=reading.text(status.get("state")),
        checkpoint_sequence_number=reading.integer(number),
        checkpoint_incarnation=reading.text(status.get("checkpointIncarnation")),
        pipeline=_parse_pipeline(reading.mapping(status.get("pipeline"))),
        request=_parse_request(reading.mapping(status.get("request"))),
        decision=_parse_decision(reading.mapping(status.get("decision"))),
        handled=Handled(
            approve=reading.text(handled.get("approve")),
            reject=reading.text(handled.get("reject")),
            approve_before=tuple(filter(None, map(reading.text, reading.items(handled.get("approveBefore"))))),
            reject_before=tuple(filter(None, map(reading.text, reading.items(handled.get("rejectBefore"))))),
        ),
        ignored=tuple(
            _parse_ignored(entry) for entry in map(reading.mapping, reading.items(status.get("ignored"))) if entry
        ),
        history=_some(_parse_decision(reading.mapping(entry)) for entry in reading.items(status.get("history"))),
        conditions=_some(parse_condition(entry) for entry in reading.items(status.get("conditions"))),
    )


def render_status(status: Status) -> dict[str, Any]:
    """`status` as JSON; parts without a value are left out."""
    handled = _drop_empty(
        {
            "approve": status.handled.approve,
            "reject": status.handled.reject,
            "approveBefore": list(status.handled.approve_before),
            "rejectBefore": list(status.handled.reject_before),
        }
    )
    return _drop_empty(
        {
            "observedGeneration": status.observed_generation,
            "state": status.state,
            "checkpoint_sequence_number": status.checkpoint_sequence_number,
            "checkpointIncarnation": status.checkpoint_incarnation,
            "pipeline": status.pipeline and _render_pipeline(status.pipeline),
            "request": status.request and _render_request(status.request),
            "decision": status.decision and _render_decision(status.decision),
            "handled": handled,
            "ignored": [_render_ignored(entry) for entry in status.ignored],
            "history": [_render_decision(entry) for entry in status.history],
            "conditions": [render_condition(condition) for condition in status.conditions],
        }
    )


def build_merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that turns one object into the other; empty when they are equal."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            inner = build_merge_patch(old, value)
            if inner:
                patch[key] = inner
        elif key not in before or old != value:
            patch[key] = value
    return patch


def _parse_pipeline(value: Mapping[str, Any]) -> PipelineFacts | None:
    if not value:
        return None
    return PipelineFacts(
        id=reading.text(value.get("id")),
        deployment_id=reading.text(value.get("deploymentId")),
        status=reading.text(value.get("status")),
        program_version=reading.integer(value.get("programVersion")) or 0,
        platform_version=reading.text(value.get("platformVersion")),
    )


def _render_pipeline(facts: PipelineFacts) -> dict[str, Any]:
    return _drop_empty(
        {
            "id": facts.id,
            "deploymentId": facts.deployment_id,
            "status": facts.status,
            "programVersion": facts.program_version,
            "platformVersion": facts.platform_version,
        }
    )


def _parse_request(value: Mapping[str, Any]) -> Request | None:
    since = parse_time(value.get("since"))
    if not reading.text(value.get("id")) or since is None:
        return None
    return Request(
        id=reading.text(value.get("id")),
        digest=reading.text(value.get("digest")),
        since=since,
        risk=reading.text(value.get("risk")),
        reasons=tuple(map(reading.text, reading.items(value.get("reasons")))),
        summary=reading.text(value.get("summary")),
        outputs=_parse_outputs(value.get("outputs")),
        change=_parse_change(reading.mapping(value.get("change"))),
    )


def _parse_change(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: inner for key, inner in value.items() if isinstance(inner, str | list | int)}


def _render_request(request: Request) -> dict[str, Any]:
    return {
        "id": request.id,
        "digest": request.digest,
        "since": render_time(request.since),
        "risk": request.risk,
        "reasons": list(request.reasons),
        "summary": request.summary,
        "outputs": request.outputs.value,
        "change": request.change,
    }


def _parse_decision(value: Mapping[str, Any]) -> Decision | None:
    at = parse_time(value.get("at"))
    try:
        verdict, outcome = Verdict(reading.text(value.get("verdict"))), Outcome(reading.text(value.get("outcome")))
    except ValueError:
        return None
    if at is None:
        return None
    by = reading.mapping(value.get("by"))
    step = reading.text(value.get("checkpoint"))
    number = value.get("checkpoint_sequence_number")
    return Decision(
        request_id=reading.text(value.get("requestId")),
        digest=reading.text(value.get("digest")),
        verdict=verdict,
        by=By(
            via=reading.text(by.get("via")),
            user=reading.text(by.get("user")),
            manager=reading.text(by.get("manager")),
            policy=reading.text(by.get("policy")),
        ),
        at=at,
        outcome=outcome,
        deployment_id=reading.text(value.get("deploymentId")),
        reason=reading.text(value.get("reason")),
        outputs=_parse_outputs(value.get("outputs")),
        unanswered=value.get("unanswered") is True,
        message=reading.text(value.get("message")),
        attempts=reading.integer(value.get("attempts")) or 0,
        retry_at=parse_time(value.get("retryAt")),
        checkpoint=CheckpointStep(step) if step in list(CheckpointStep) else None,
        checkpoint_sequence_number=reading.integer(number),
    )


def _render_decision(decision: Decision) -> dict[str, Any]:
    by = decision.by
    return _drop_empty(
        {
            "requestId": decision.request_id,
            "deploymentId": decision.deployment_id,
            "digest": decision.digest,
            "verdict": decision.verdict.value,
            "by": _drop_empty({"via": by.via, "user": by.user, "manager": by.manager, "policy": by.policy}),
            "reason": decision.reason,
            "at": render_time(decision.at),
            "outputs": decision.outputs.value,
            "outcome": decision.outcome.value,
            "message": decision.message,
            "attempts": decision.attempts or None,
            "unanswered": decision.unanswered or None,
            "retryAt": decision.retry_at and render_time(decision.retry_at),
            "checkpoint": decision.checkpoint and decision.checkpoint.value,
            "checkpoint_sequence_number": decision.checkpoint_sequence_number,
        }
    )


def _parse_ignored(value: Mapping[str, Any]) -> Ignored:
    return Ignored(**{key: reading.text(value.get(key)) for key in ("annotation", "value", "reason", "message")})


def _render_ignored(entry: Ignored) -> dict[str, Any]:
    return {
        "annotation": entry.annotation,
        "value": entry.value,
        "reason": entry.reason,
        "message": entry.message,
    }


def _parse_outputs(value: object) -> Outputs:
    return Outputs.SILENT if value == Outputs.SILENT.value else Outputs.EMIT


def _drop_empty(value: dict[str, Any]) -> dict[str, Any]:
    return {key: inner for key, inner in value.items() if inner is not None and inner not in ("", [], {})}


def _some(values: Any) -> tuple[Any, ...]:
    return tuple(value for value in values if value is not None)
