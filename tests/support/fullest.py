"""The fullest resource that the definition and the operator know: every field, as long as it is ever written."""

import dataclasses
import datetime
from typing import Any

from pipeline_approver.core import (
    change,
    claims,
    conditions,
    observation,
    present,
    resource,
    risk,
    status,
    tokens,
)

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
DIGEST = "sha256:" + "0123456789abcdef" * 4
FULLEST_SPEC: dict[str, Any] = {
    "pipelineName": "Orders_2",
    "connectionSecretRef": {"name": "feldera"},
    "outputs": "Silent",
    "checkpoint": "Never",
    "suspend": True,
}


def fullest_status() -> status.Status:
    """Every field, as long as the operator ever writes it."""
    name = "x" * change.NAME_LENGTH
    decision = status.Decision(
        request_id="3f9a1c07be42",
        digest=DIGEST,
        verdict=status.Verdict.APPROVED,
        by=status.By(via="Annotation", user="u" * resource.USER_LENGTH, manager="m" * resource.USER_LENGTH),
        at=NOW,
        outcome=status.Outcome.BOOTSTRAPPED,
        deployment_id="d" * present.STATE_LENGTH,
        reason="r" * resource.REASON_LENGTH,
        message="m" * conditions.MESSAGE_LENGTH,
        attempts=3,
        unanswered=True,
        retry_at=NOW,
        checkpoint=status.CheckpointStep.DURABLE,
    )
    past = status.Decision(
        request_id="3f9a1c07be42",
        digest=DIGEST,
        verdict=status.Verdict.REJECTED,
        by=status.By(via="Policy", policy="additive-only"),
        at=NOW,
        outcome=status.Outcome.STOPPED,
        checkpoint_sequence_number=0,
    )
    ended = dataclasses.replace(decision, attempts=0, unanswered=False, retry_at=None, checkpoint=None)
    found = {part: tuple(f"{name}{i}" for i in range(change.SHOWN_NAMES + 1)) for part in change.Part}
    difference = change.Change(parts=found, computed=False, error="e" * 9999, unknown=("k" * 9999,))
    program = observation.Program(program_code="", udf_rust="", udf_toml="")
    grade, reasons = risk.assess_risk(difference, program=program, outputs=change.Outputs.EMIT)
    return status.Status(
        observed_generation=3,
        state="s" * present.STATE_LENGTH,
        checkpoint_sequence_number=0,
        checkpoint_incarnation="0199" * 9,
        pipeline=status.PipelineFacts(
            id="i" * present.STATE_LENGTH,
            deployment_id="d" * present.STATE_LENGTH,
            status="s" * present.STATE_LENGTH,
            program_version=7,
            platform_version="p" * present.STATE_LENGTH,
        ),
        request=status.Request(
            id="3f9a1c07be42",
            digest=DIGEST,
            since=NOW,
            risk=grade.word,
            reasons=reasons,
            summary=change.summarise(difference),
            outputs=change.Outputs.EMIT,
            change=change.render_change(difference),
        ),
        decision=decision,
        handled=status.Handled(
            approve="t" * tokens.LONGEST,
            reject="t" * tokens.LONGEST,
            approve_before=("t" * tokens.LONGEST,) * status.REMEMBERED_VALUES,
            reject_before=("t" * tokens.LONGEST,) * status.REMEMBERED_VALUES,
        ),
        ignored=tuple(
            status.Ignored(annotation=name, value="v" * claims.VALUE_LENGTH, reason="Malformed", message="m" * 512)
            for name in (resource.APPROVE, resource.REJECT)
        ),
        history=(past, ended) * (status.HISTORY_LENGTH // 2),
        conditions=conditions.merge_conditions(
            (),
            [
                conditions.build_condition(type_, holds, "Reason", "m" * 9999)
                for type_, holds in (
                    (conditions.READY, True),
                    (conditions.CONNECTED, False),
                    (conditions.APPROVAL_REQUIRED, None),
                    (conditions.CHECKPOINT_DURABLE, True),
                    (conditions.RECONCILING, True),
                    (conditions.STALLED, True),
                )
            ],
            generation=3,
            now=NOW,
        ),
    )
