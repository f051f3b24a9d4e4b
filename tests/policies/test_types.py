"""Every expression compiles, against the types of the definition, to the type that Kubernetes wants in its place.

An API server refuses a definition with a rule that does not, and refuses every request to which such a policy applies.
"""

import pathlib
from typing import Any

import pytest
import yaml

from support.cel import BOOL, MAP, STRING, CelError, Checker
from support.people import policies

CRD: dict[str, Any] = yaml.safe_load((pathlib.Path(__file__).parents[2] / "crds" / "pipelines.yaml").read_text())
SCHEMA: dict[str, Any] = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
POLICIES = {
    manifest["metadata"]["name"]: manifest
    for manifest in policies("approve-verb", "approved-by", "four-eyes")
    if manifest["kind"].endswith("AdmissionPolicy")
}


def checker() -> Checker:
    found = Checker(SCHEMA)
    for name in ("object", "oldObject"):
        found.declare(name, "Pipeline")
    found.declare("request", "Request")
    return found


@pytest.mark.parametrize("name", POLICIES)
def test_the_expressions_of_a_policy_have_the_right_types(name: str) -> None:
    spec = POLICIES[name]["spec"]
    bare, types = checker(), checker()
    types.declare("authorizer", MAP)
    for condition in spec.get("matchConditions", []):
        bare.declare("authorizer", MAP)
        assert bare.check(condition["expression"]) == BOOL
    # A message cannot ask the authorizer, nor use a variable that does.
    messages = checker()
    for variable in spec["variables"]:
        found = types.check(variable["expression"])
        types.declare(f"variables.{variable['name']}", found)
        if "authorizer" not in variable["expression"]:
            messages.declare(f"variables.{variable['name']}", found)
    for validation in spec.get("validations", []):
        assert types.check(validation["expression"]) == BOOL
        if "messageExpression" in validation:
            assert messages.check(validation["messageExpression"]) == STRING
    for annotation in spec.get("auditAnnotations", []):
        assert messages.check(annotation["valueExpression"]) == STRING
    for mutation in spec.get("mutations", []):
        assert types.check(mutation["jsonPatch"]["expression"]).name() == "LIST<JSONPatch>"


def test_the_rules_of_the_definition_have_the_right_types() -> None:
    types = Checker(SCHEMA)
    types.declare("self", "Pipeline")
    for rule in SCHEMA["x-kubernetes-validations"]:
        assert types.check(rule["rule"]) == BOOL


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("object.spec.autoApprove == ''", "undefined field 'autoApprove'"),
        ("object.metadata.name == 1", "no matching overload"),
        ("has(object.status.handled) ? object.status.handled : {}", "no matching overload"),
        ("variables.nothing == ''", "undeclared reference"),
        ("object.metadata.name ==", "Syntax error"),
    ],
)
def test_this_check_can_fail(expression: str, complaint: str) -> None:
    with pytest.raises(CelError, match=complaint):
        checker().check(expression)
