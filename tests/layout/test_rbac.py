"""Every right in the manifests, and nothing that nobody needs."""

import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
OVERLAYS = ("cluster-wide", "namespaced")
GROUP = "pipeline-approver.io"
FILES = sorted(file for folder in ("base", "overlays") for file in (DEPLOY / folder).rglob("*rbac*.yaml"))

Right = tuple[str, str, str]


def roles(overlay: str) -> Iterator[dict[str, Any]]:
    for folder in (DEPLOY / "base", DEPLOY / "overlays" / overlay):
        for file in sorted(folder.glob("*rbac*.yaml")):
            for manifest in yaml.safe_load_all(file.read_text()):
                if "rules" in manifest:
                    yield manifest


def rights(role: dict[str, Any]) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def of_pipelines(verbs: str, resource: str = "pipelines") -> set[Right]:
    return {(GROUP, resource, verb) for verb in verbs.split()}


OPERATOR = (
    of_pipelines("get list watch")
    | of_pipelines("patch", "pipelines/status")
    | {("", "events", "create"), ("", "events", "get"), ("", "events", "patch"), ("", "secrets", "get")}
)
PEOPLE = {
    "pipeline-viewer": of_pipelines("get list watch"),
    "pipeline-editor": of_pipelines("get list watch create update patch delete"),
    "pipeline-approver": of_pipelines("get list watch patch approve"),
}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_operator_has_exactly_the_rights_that_it_needs(overlay: str) -> None:
    found = {role["metadata"]["name"]: role for role in roles(overlay)}
    granted = rights(found["pipeline-approver-operator"])
    if overlay == "cluster-wide":
        granted |= rights(found["pipeline-approver-connections"])
    assert granted == OPERATOR
    leader = found["pipeline-approver-leader"]
    assert leader["kind"] == "Role"
    assert [(set(rule["verbs"]), rule.get("resourceNames")) for rule in leader["rules"]] == [
        ({"get", "update"}, ["pipeline-approver"]),
        ({"create"}, None),
    ]
    assert {right[:2] for right in rights(leader)} == {("coordination.k8s.io", "leases")}
    assert not rights(leader) & OPERATOR


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_people_have_roles_to_see_to_edit_and_to_approve(overlay: str) -> None:
    found = {role["metadata"]["name"]: rights(role) for role in roles(overlay)}
    assert {name: found[name] for name in PEOPLE} == PEOPLE


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_only_the_operator_writes_statuses_and_it_writes_nothing_else_on_pipelines(overlay: str) -> None:
    for role in roles(overlay):
        is_operator = role["metadata"]["name"] == "pipeline-approver-operator"
        assert is_operator or not [right for right in rights(role) if right[1].startswith("pipelines/")]
        if role["metadata"]["name"] not in PEOPLE:
            assert not rights(role) & of_pipelines("create update patch delete deletecollection approve")


def test_no_right_is_a_wildcard_and_secrets_are_neither_listed_nor_watched() -> None:
    for overlay in OVERLAYS:
        for role in roles(overlay):
            for group, resource, verb in rights(role):
                assert "*" not in (group + resource + verb)
                assert verb not in ("escalate", "bind", "impersonate")
                assert resource != "secrets" or verb == "get"


def test_the_operator_is_bound_to_its_own_roles_only() -> None:
    for file in FILES:
        for manifest in yaml.safe_load_all(file.read_text()):
            if manifest["kind"].endswith("Binding"):
                assert manifest["roleRef"]["name"].startswith("pipeline-approver-")
                assert [(s["kind"], s["name"]) for s in manifest["subjects"]] == [
                    ("ServiceAccount", "pipeline-approver")
                ]


def test_cluster_roles_are_added_to_those_that_clusters_come_with() -> None:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    added = {
        role["metadata"]["name"]: sorted(
            label.removeprefix(prefix) for label in role["metadata"]["labels"] if label.startswith(prefix)
        )
        for role in roles("cluster-wide")
    }
    assert {name: to for name, to in added.items() if to} == {
        "pipeline-viewer": ["admin", "edit", "view"],
        "pipeline-editor": ["admin", "edit"],
        "pipeline-approver": ["admin"],
    }


def test_the_namespaced_overlay_has_no_cluster_role() -> None:
    kinds = {
        manifest["kind"]
        for folder in ("base", "overlays/namespaced")
        for file in (DEPLOY / folder).glob("*rbac*.yaml")
        for manifest in yaml.safe_load_all(file.read_text())
    }
    assert kinds == {"Role", "RoleBinding"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_rule_has_its_reason_in_a_comment(file: pathlib.Path) -> None:
    lines = file.read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"  - apiGroups:", line):
            assert lines[number - 1].startswith("  # "), f"{file.name}:{number + 1}"
