"""What an API server does with admission policies, without an API server: the real manifests, evaluated as documented.

Mutating policies first, and once more where another one changed the object after them; then the validating ones,
which see the result. Match conditions, variables (evaluated when used), messages, audit annotations and failure
policies are as in the Kubernetes documentation. Who may do what is asked of RBAC roles, as `deploy/` has them.
"""

import copy
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jsonpatch
from google.protobuf import json_format

from support.cel import CelError, Evaluator

Manifest = dict[str, Any]


class Refused(Exception):
    """The answer of an API server that refuses; the message is what kubectl prints."""

    def __init__(self, policy: str, message: str, reason: str, audit: dict[str, str]) -> None:
        super().__init__(message)
        self.policy, self.message, self.reason, self.audit = policy, message, reason, audit


@dataclass(frozen=True)
class Written:
    """What is stored, and what the audit log says."""

    object: Manifest
    audit: dict[str, str]


@dataclass(frozen=True)
class Grant:
    """A role that a user has, in one namespace or in all."""

    user: str
    role: Manifest
    namespace: str | None = None


@dataclass
class Admission:
    """Policies and bindings as they are applied, grants, and the labels of namespaces."""

    manifests: Iterable[Manifest]
    grants: list[Grant] = field(default_factory=list)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        manifests = list(self.manifests)
        self._policies = {m["metadata"]["name"]: m for m in manifests if m["kind"].endswith("AdmissionPolicy")}
        self._bindings = [m for m in manifests if m["kind"].endswith("AdmissionPolicyBinding")]
        self._evaluator = Evaluator(self._may)

    def write(self, user: str, new: Manifest, old: Manifest | None = None, *, subresource: str = "") -> Written:
        """Create, or change `old` into `new`; raises Refused."""
        namespace = new["metadata"]["namespace"]
        request = {
            "operation": "UPDATE" if old else "CREATE",
            # With generateName, the name is made up after admission.
            "name": new["metadata"].get("name", ""),
            "namespace": namespace,
            "subResource": subresource,
            "userInfo": {"username": user, "groups": ["system:authenticated"]},
        }
        new = copy.deepcopy(new)
        mutating = self._bound("MutatingAdmissionPolicy", request)
        left_behind: dict[str, Manifest] = {}
        for policy in mutating:
            new = self._mutate(policy, {"object": new, "oldObject": old, "request": request})
            left_behind[policy["metadata"]["name"]] = copy.deepcopy(new)
        for policy in filter(_is_reinvoked, mutating):
            if left_behind[policy["metadata"]["name"]] != new:
                new = self._mutate(policy, {"object": new, "oldObject": old, "request": request})
        audit: dict[str, str] = {}
        refusals: list[Refused] = []
        for policy in self._bound("ValidatingAdmissionPolicy", request):
            refusals += self._validate(policy, {"object": new, "oldObject": old, "request": request}, audit)
        if refusals:
            raise refusals[0]
        return Written(new, audit)

    def _bound(self, kind: str, request: Mapping[str, Any]) -> list[Manifest]:
        found = []
        for binding in self._bindings:
            policy = self._policies[binding["spec"]["policyName"]]
            selector = binding["spec"].get("matchResources", {}).get("namespaceSelector", {}).get("matchLabels", {})
            has_labels = selector.items() <= self.namespaces.get(request["namespace"], {}).items()
            resource = "/".join(filter(None, ("pipelines", request["subResource"])))
            if policy["kind"] == kind and has_labels and _is_matched(policy, request["operation"], resource):
                found.append(policy)
        return found

    def _mutate(self, policy: Manifest, values: dict[str, Any]) -> Manifest:
        scope = _Scope(self._evaluator, policy, values)
        try:
            if not scope.is_meant():
                return values["object"]
            for mutation in policy["spec"]["mutations"]:
                patch = [_to_operation(message) for message in scope.evaluate(mutation["jsonPatch"]["expression"])]
                values["object"] = jsonpatch.apply_patch(values["object"], patch)
        except CelError as error:
            raise _failure(policy, error) from None
        return values["object"]

    def _validate(self, policy: Manifest, values: dict[str, Any], audit: dict[str, str]) -> list[Refused]:
        scope = _Scope(self._evaluator, policy, values)
        name = policy["metadata"]["name"]
        refusals = []
        try:
            if not scope.is_meant():
                return []
            for annotation in policy["spec"].get("auditAnnotations", []):
                if text := scope.evaluate(annotation["valueExpression"]):
                    audit[f"{name}/{annotation['key']}"] = text
            for validation in policy["spec"]["validations"]:
                if scope.evaluate(validation["expression"]) is not True:
                    refusals.append(Refused(name, scope.message(validation), validation["reason"], audit))
        except CelError as error:
            refusals.append(_failure(policy, error))
        return refusals

    def _may(self, question: Mapping[str, Any]) -> bool:
        return any(
            grant.user == question["user"]
            and grant.namespace in (None, question["namespace"])
            and any(_covers(rule, question) for rule in grant.role["rules"])
            for grant in self.grants
        )


class _Scope:
    """One policy judging one request: its variables are evaluated when they are used."""

    def __init__(self, evaluator: Evaluator, policy: Manifest, values: dict[str, Any]) -> None:
        self._evaluator = evaluator
        self._policy = policy
        self._values = {**values, "authorizer": {"user": values["request"]["userInfo"]["username"]}}
        self._variables: dict[str, Any] = {}
        self._failed: dict[str, CelError] = {}

    def is_meant(self) -> bool:
        conditions = self._policy["spec"].get("matchConditions", [])
        return all(self._evaluator.evaluate(each["expression"], self._values) for each in conditions)

    def evaluate(self, expression: str, *, with_authorizer: bool = True) -> Any:
        for entry in self._policy["spec"].get("variables", []):
            name = entry["name"]
            if re.search(rf"\bvariables\.{name}\b", expression) and not {name} & {*self._variables, *self._failed}:
                try:
                    self._variables[name] = self.evaluate(entry["expression"], with_authorizer=with_authorizer)
                except CelError as error:
                    # Left out, it fails where it is looked at, and only there.
                    self._failed[name] = error
        values = {**self._values, "variables": self._variables}
        if not with_authorizer:
            values.pop("authorizer")
        try:
            return self._evaluator.evaluate(expression, values)
        except CelError as error:
            raise CelError(f"{error} {list(map(str, self._failed.values()))} in: {expression}") from None

    def message(self, validation: Manifest) -> str:
        """The message; the authorizer is not there for it."""
        if "messageExpression" not in validation:
            return str(validation["message"])
        text = str(self.evaluate(validation["messageExpression"], with_authorizer=False))
        # An API server falls back to the bare expression then.
        assert "\n" not in text, "the message has a line break"
        assert len(text) <= 5 * 1024, "the message is too long"
        return text


def _is_matched(policy: Manifest, operation: str, resource: str) -> bool:
    rules = policy["spec"]["matchConstraints"]["resourceRules"]
    return any(operation in rule["operations"] and resource in rule["resources"] for rule in rules)


def _is_reinvoked(policy: Manifest) -> bool:
    return bool(policy["spec"].get("reinvocationPolicy") == "IfNeeded")


def _to_operation(message: Any) -> dict[str, Any]:
    operation = json.loads(json_format.MessageToJson(message))
    if operation["op"] == "add":
        operation.setdefault("value", None)
    return dict(operation)


def _failure(policy: Manifest, error: CelError) -> Refused:
    assert policy["spec"]["failurePolicy"] == "Fail"
    return Refused(policy["metadata"]["name"], f"failed expression: {error}", "Failed", {})


def _covers(rule: Mapping[str, Any], question: Mapping[str, Any]) -> bool:
    """Whether an RBAC rule allows what is asked; a rule with names allows nothing without a name."""
    return (
        bool({"*", question["group"]} & set(rule["apiGroups"]))
        and bool({"*", question["resource"]} & set(rule["resources"]))
        and bool({"*", question["check"]} & set(rule["verbs"]))
        and ("resourceNames" not in rule or question.get("name") in rule["resourceNames"])
    )
