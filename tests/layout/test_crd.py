"""The CustomResourceDefinition teaches the product, bounds what it accepts, and points only at what exists."""

import pathlib
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
CRD_FILE = ROOT / "crds" / "pipelines.yaml"
GROUP = "pipeline-approver.io"

CRD: dict[str, Any] = yaml.safe_load(CRD_FILE.read_text())
VERSION: dict[str, Any] = CRD["spec"]["versions"][0]
SCHEMA: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")


FIELDS = dict(walk(SCHEMA))
STATUS = SCHEMA["properties"]["status"]["properties"]


def test_the_kind_has_the_names_of_the_product() -> None:
    spec = CRD["spec"]
    assert CRD["metadata"]["name"] == f"pipelines.{GROUP}"
    assert (spec["group"], spec["scope"]) == (GROUP, "Namespaced")
    assert spec["names"] == {
        "kind": "Pipeline",
        "listKind": "PipelineList",
        "plural": "pipelines",
        "singular": "pipeline",
        "shortNames": ["fpl"],
        "categories": ["feldera"],
    }
    assert [version["name"] for version in spec["versions"]] == ["v1alpha1"]
    assert (VERSION["served"], VERSION["storage"], VERSION["subresources"]) == (True, True, {"status": {}})


@pytest.mark.parametrize("path", [path for path in FIELDS if path != ".metadata"])
def test_every_field_has_a_helpful_description(path: str) -> None:
    description = FIELDS[path].get("description", "")
    assert len(description) >= len("Pipeline."), path
    assert description[0].isupper() or description[0].isdigit(), path


def test_metadata_has_no_description_because_the_api_server_refuses_one() -> None:
    assert FIELDS[".metadata"] == {"type": "object"}


def test_the_kind_explains_every_annotation() -> None:
    for annotation in ("approve", "reject", "reason", "approved-by"):
        assert f"\n{GROUP}/{annotation}: " in SCHEMA["description"]


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_is_typed_and_bounded(path: str) -> None:
    field = FIELDS[path]
    assert not {"x-kubernetes-preserve-unknown-fields", "additionalProperties", "x-kubernetes-int-or-string"} & set(
        field
    )
    match field["type"]:
        case "string":
            assert "maxLength" in field or "enum" in field, path
        case "array":
            assert "maxItems" in field, path
            assert "x-kubernetes-list-type" in field, path
        case "integer":
            assert field["format"] == "int64", path
            # -1 is the default of status.observedGeneration: not looked at yet.
            assert field["minimum"] == (-1 if path == ".status.observedGeneration" else 0), path
        case "object":
            assert "properties" in field or path == ".metadata", path
        case other:
            assert other == "boolean", path


@pytest.mark.parametrize("path", [path for path, field in FIELDS.items() if "enum" in field])
def test_a_bound_never_contradicts_an_enum(path: str) -> None:
    field = FIELDS[path]
    assert all(len(word) <= field.get("maxLength", 1024) for word in field["enum"])
    assert field.get("default", field["enum"][0]) in field["enum"]


@pytest.mark.parametrize("path", [path for path, field in FIELDS.items() if "required" in field])
def test_required_fields_exist(path: str) -> None:
    assert set(FIELDS[path]["required"]) <= set(FIELDS[path]["properties"])


def test_times_are_date_times() -> None:
    for path, field in FIELDS.items():
        if re.search(r"\.(since|at|retryAt|lastTransitionTime)$", path):
            assert field["format"] == "date-time", path


def test_columns_and_selectors_point_at_existing_fields() -> None:
    paths = [column["jsonPath"] for column in VERSION["additionalPrinterColumns"]]
    paths += [field["jsonPath"] for field in VERSION["selectableFields"]]
    for path in paths:
        if path != ".metadata.creationTimestamp":
            assert re.sub(r"\[\?\([^)]*\)\]", "[]", path) in FIELDS, path


def test_the_columns_are_the_documented_ones() -> None:
    columns = VERSION["additionalPrinterColumns"]
    narrow = [column["name"] for column in columns if not column.get("priority")]
    assert narrow == ["Status", "Ready", "Request", "Risk", "Checkpoint", "Age"]
    assert [column["name"] for column in columns if column.get("priority")] == ["Change", "Decided-By", "Message"]
    assert [field["jsonPath"] for field in VERSION["selectableFields"]] == [".status.state"]


def test_a_pipeline_of_metadata_alone_is_valid() -> None:
    assert "required" not in SCHEMA
    spec = FIELDS[".spec"]
    assert spec["default"] == {}
    assert "required" not in spec
    defaults = {name: field["default"] for name, field in spec["properties"].items() if "default" in field}
    assert defaults == {"checkpoint": "AfterBootstrap", "suspend": False}


def test_policies_are_not_accepted_silently_by_a_version_that_has_none() -> None:
    assert set(FIELDS[".spec"]["properties"]) == {
        "pipelineName",
        "connectionSecretRef",
        "outputs",
        "checkpoint",
        "suspend",
    }


@pytest.mark.parametrize("name", ["a", "Orders_2", "a-b", "x" * 100])
def test_names_of_feldera_are_accepted(name: str) -> None:
    field = FIELDS[".spec.pipelineName"]
    assert re.search(field["pattern"], name)
    assert field["minLength"] <= len(name) <= field["maxLength"]


@pytest.mark.parametrize("name", ["-a", "a-", "_a", "a.b", "a/b", "a b", "ä", "a\nb"])
def test_other_names_are_refused(name: str) -> None:
    assert not re.search(FIELDS[".spec.pipelineName"]["pattern"], name)


def test_a_decision_and_its_history_have_the_same_fields() -> None:
    live, past = STATUS["decision"]["properties"], STATUS["history"]["items"]["properties"]
    assert set(live) - set(past) == {"attempts", "unanswered", "retryAt", "checkpoint"}
    assert set(past) - set(live) == {"checkpoint_sequence_number"}
    assert all(past[name] == live[name] for name in set(past) & set(live))


def test_validation_rules_guard_optional_fields() -> None:
    rules = [rule for field in FIELDS.values() for rule in field.get("x-kubernetes-validations", [])]
    assert rules
    for rule in rules:
        assert rule["message"]
        for used in re.findall(r"self\.spec(?:\.\w+)?", rule["rule"]):
            assert f"has({used})" in rule["rule"], used


def test_the_prefix_is_never_misspelled() -> None:
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        for host in re.findall(r"[\w.-]+\.io\b", file.read_text()):
            # Labels of Kubernetes, and groups with a name before the dot such as pipelines.pipeline-approver.io.
            assert host in (GROUP, f"pipelines.{GROUP}") or host.endswith(("kubernetes.io", ".k8s.io")), host


def test_there_is_one_copy_of_every_definition() -> None:
    # What `make chart` lays out in build/ is not of the repository.
    tracked = subprocess.run(["git", "ls-files", "*.yaml"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ours = (ROOT / line for line in tracked.splitlines())
    copies = [p for p in ours if re.search(r"^kind: CustomResourceDefinition$", p.read_text(), re.MULTILINE)]
    assert copies == [CRD_FILE]
    kustomization = yaml.safe_load((ROOT / "crds" / "kustomization.yaml").read_text())
    assert kustomization["resources"] == [CRD_FILE.name]
