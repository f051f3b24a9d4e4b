"""The operator's own words and bounds are those of the CustomResourceDefinition, so that no status write is refused."""

import dataclasses
import datetime
import pathlib
from typing import Any

import jsonschema
import pytest
import yaml

from pipeline_approver.core import (
    change,
    claims,
    conditions,
    observation,
    present,
    resource,
    risk,
    status,
    statusjson,
    tokens,
)
from pipeline_approver.core.resource import CheckpointMode

CRD = yaml.safe_load((pathlib.Path(__file__).parents[2] / "crds" / "pipelines.yaml").read_text())
SCHEMA: dict[str, Any] = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC, STATUS = (SCHEMA["properties"][part]["properties"] for part in ("spec", "status"))
DECISION, REQUEST = STATUS["decision"]["properties"], STATUS["request"]["properties"]
NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
DIGEST = "sha256:" + "0123456789abcdef" * 4


def close(schema: Any) -> Any:
    """The schema, refusing what the API server would prune."""
    if isinstance(schema, list):
        return [close(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: close(inner) for key, inner in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed["additionalProperties"] = False
    return closed


CLOSED_STATUS = close(SCHEMA["properties"]["status"])


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
    ended = dataclasses.replace(decision, attempts=0, retry_at=None, checkpoint=None)
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
        handled=status.Handled(approve="t" * tokens.LONGEST, reject="t" * tokens.LONGEST),
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


def fields(schema: dict[str, Any], path: str = "") -> set[str]:
    names = {path} if path else set()
    for name, inner in schema.get("properties", {}).items():
        names |= fields(inner, f"{path}.{name}")
    return names | (fields(schema["items"], f"{path}[]") if "items" in schema else set())


def present_fields(value: Any, path: str = "") -> set[str]:
    names = {path} if path else set()
    if isinstance(value, dict):
        for name, inner in value.items():
            names |= present_fields(inner, f"{path}.{name}")
    if isinstance(value, list):
        for inner in value:
            names |= present_fields(inner, f"{path}[]")
    return names


def test_the_fullest_status_is_accepted() -> None:
    jsonschema.validate(statusjson.render_status(fullest_status()), CLOSED_STATUS)


def test_the_emptiest_status_is_accepted() -> None:
    jsonschema.validate(statusjson.render_status(status.Status()), CLOSED_STATUS)


def test_every_field_of_the_definition_is_written_by_the_operator() -> None:
    written = present_fields(statusjson.render_status(fullest_status()))
    assert fields(CLOSED_STATUS) - written <= {".decision.by.policy"}


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (DECISION["verdict"], status.Verdict),
        (DECISION["outcome"], status.Outcome),
        (DECISION["checkpoint"], status.CheckpointStep),
        (DECISION["outputs"], change.Outputs),
        (REQUEST["outputs"], change.Outputs),
        (SPEC["outputs"], change.Outputs),
        (SPEC["checkpoint"], CheckpointMode),
    ],
)
def test_the_words_are_the_same(field: dict[str, Any], words: Any) -> None:
    assert field["enum"] == [word.value for word in words]


def test_the_risks_are_the_same_and_in_order() -> None:
    assert REQUEST["risk"]["enum"] == [grade.word for grade in risk.Risk]


def test_the_parts_of_a_change_are_the_same() -> None:
    assert set(REQUEST["change"]["properties"]) == {part.value for part in change.Part} | {"omitted", "error"}


def test_the_group_and_version_are_the_same() -> None:
    assert CRD["spec"]["group"] == resource.GROUP
    assert CRD["spec"]["versions"][0]["name"] == resource.VERSION
    assert CRD["spec"]["names"]["plural"] == resource.PLURAL
    assert CRD["spec"]["names"]["kind"] == resource.KIND
