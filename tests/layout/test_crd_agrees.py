"""The operator's own words and bounds are those of the CustomResourceDefinition, so that no status write is refused."""

import pathlib
from typing import Any

import jsonschema
import pytest
import yaml

from pipeline_approver.core import (
    change,
    resource,
    risk,
    status,
    statusjson,
)
from pipeline_approver.core.resource import CheckpointMode
from support.fullest import fullest_status

CRD = yaml.safe_load((pathlib.Path(__file__).parents[2] / "crds" / "pipelines.yaml").read_text())
SCHEMA: dict[str, Any] = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC, STATUS = (SCHEMA["properties"][part]["properties"] for part in ("spec", "status"))
DECISION, REQUEST = STATUS["decision"]["properties"], STATUS["request"]["properties"]


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
