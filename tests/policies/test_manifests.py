"""The admission policies apply to every write of a Pipeline, refuse when in doubt, and know the operator's values."""

import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from pipeline_approver.core.tokens import TokenKind, parse_token

FILES = pathlib.Path(__file__).parents[2] / "deploy" / "chart" / "files"
GROUP = "pipeline-approver.io"
ANNOTATIONS = {"approve", "reject", "approved-by", "changed-by"}

MANIFESTS: list[dict[str, Any]] = [
    manifest for file in sorted(FILES.glob("*/policy.yaml")) for manifest in yaml.safe_load_all(file.read_text())
]
POLICIES = {m["metadata"]["name"]: m for m in MANIFESTS if m["kind"].endswith("Policy")}
BINDINGS = {m["metadata"]["name"]: m for m in MANIFESTS if m["kind"].endswith("Binding")}
EVERY_POLICY = pytest.mark.parametrize("name", POLICIES)


def expressions(policy: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Where, and the CEL text."""
    spec = policy["spec"]
    for part in ("matchConditions", "variables", "validations"):
        for entry in spec.get(part, []):
            for key in ("expression", "messageExpression"):
                if key in entry:
                    yield f"{part}.{key}", entry[key]
    for entry in spec.get("auditAnnotations", []):
        yield "auditAnnotations", entry["valueExpression"]
    for mutation in spec.get("mutations", []):
        yield "mutations", mutation["jsonPatch"]["expression"]


def test_the_policies_are_those_of_the_components() -> None:
    assert {(m["kind"], name.removesuffix(f".{GROUP}")) for name, m in POLICIES.items()} == {
        ("ValidatingAdmissionPolicy", "approve-verb"),
        ("MutatingAdmissionPolicy", "approved-by"),
        ("MutatingAdmissionPolicy", "changed-by"),
        ("ValidatingAdmissionPolicy", "four-eyes"),
    }
    assert set(BINDINGS) == set(POLICIES)


@EVERY_POLICY
def test_a_policy_that_cannot_be_evaluated_refuses(name: str) -> None:
    policy, binding = POLICIES[name], BINDINGS[name]
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert binding["kind"] == policy["kind"] + "Binding"
    assert binding["spec"]["policyName"] == name
    if policy["kind"].startswith("Validating"):
        assert binding["spec"]["validationActions"] == ["Deny", "Audit"]


@EVERY_POLICY
def test_a_policy_sees_every_way_to_write_a_pipeline_and_no_status_write(name: str) -> None:
    assert POLICIES[name]["spec"]["matchConstraints"] == {
        "matchPolicy": "Equivalent",
        "resourceRules": [
            {
                "apiGroups": [GROUP],
                "apiVersions": ["*"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["pipelines"],
                "scope": "Namespaced",
            }
        ],
    }


@EVERY_POLICY
def test_expressions_mention_our_prefix_only(name: str) -> None:
    for where, text in expressions(POLICIES[name]):
        for host, rest in re.findall(r"([\w-]+(?:\.[\w-]+)*\.(?:io|com|dev))(/[\w-]+)?", text):
            assert host in (GROUP, f"pipelines.{GROUP}"), where
            assert not rest or rest.removeprefix("/") in ANNOTATIONS, where


@EVERY_POLICY
def test_every_variable_is_used(name: str) -> None:
    texts = " ".join(text for _, text in expressions(POLICIES[name]))
    for variable in POLICIES[name]["spec"].get("variables", []):
        assert f"variables.{variable['name']}" in texts


def test_every_refusal_says_why() -> None:
    for name, policy in POLICIES.items():
        for validation in policy["spec"].get("validations", []):
            assert validation["reason"] in ("Forbidden", "Invalid"), name
            assert ("message" in validation) != ("messageExpression" in validation), name


ALLOWED = ["true", "true@release-42", "true@" + "x" * 64, "3f9a1c07be42", "sha256:" + "0a" * 32]
REFUSED = ["True", "true@", "true@" + "x" * 65, "true@ä", "3f9a1c07", "3F9A1C07BE42", "sha256:0a", "yes", "true "]


def allowed_values() -> re.Pattern[str]:
    variables = POLICIES[f"approve-verb.{GROUP}"]["spec"]["variables"]
    (pattern,) = [entry["expression"] for entry in variables if entry["name"] == "values"]
    return re.compile(pattern.strip("'").removeprefix("^").removesuffix("$"))


@pytest.mark.parametrize("value", ALLOWED)
def test_values_that_the_policy_lets_through_are_understood_by_the_operator(value: str) -> None:
    assert allowed_values().fullmatch(value)
    assert parse_token(value).kind not in (TokenKind.INVALID, TokenKind.NONE)


@pytest.mark.parametrize("value", REFUSED)
def test_other_values_are_refused(value: str) -> None:
    assert not allowed_values().fullmatch(value)


@pytest.mark.parametrize("value", ["", "false"])
def test_values_that_take_a_decision_back_mean_nothing_to_the_operator(value: str) -> None:
    assert parse_token(value).kind is TokenKind.NONE
    for name in ("approve-verb", "approved-by", "four-eyes"):
        texts = " ".join(text for _, text in expressions(POLICIES[f"{name}.{GROUP}"]))
        assert "in ['', 'false'])" in texts


def test_four_eyes_holds_only_where_a_namespace_asks_for_it() -> None:
    for name in ("changed-by", "four-eyes"):
        assert BINDINGS[f"{name}.{GROUP}"]["spec"]["matchResources"] == {
            "namespaceSelector": {"matchLabels": {f"{GROUP}/four-eyes": "required"}}
        }
    for name in ("approve-verb", "approved-by"):
        assert "matchResources" not in BINDINGS[f"{name}.{GROUP}"]["spec"]
