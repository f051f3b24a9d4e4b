"""The API server keeps our definition and every field of a status, and keeps status and the rest apart."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline_approver.core.statusjson import render_status
from pipeline_approver.sandbox.crd import read_crd
from support.cluster import Cluster
from support.fullest import fullest_status
from support.real import RealStage
from support.stage import API, GROUP

pytestmark = pytest.mark.e2e

NAME = "orders"
PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/pipelines.{GROUP}"
KNOWN_SINCE = {"selectableFields": (1, 31), "x-kubernetes-validations": (1, 25)}
"""What older servers drop from a definition."""
PIPELINE = {"apiVersion": API, "kind": "Pipeline", "metadata": {"name": NAME}}


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every scalar with the way to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, str(number)))
    else:
        yield path, value


def need(cluster: Cluster, *version: int, what: str) -> None:
    """Skip where the server is too old, in words that nobody overlooks."""
    if cluster.version < version:
        here, needed = (".".join(map(str, it)) for it in (cluster.version, version))
        pytest.skip(f"NOT CHECKED: {what.upper()} NEED KUBERNETES {needed}, AND THIS SERVER IS {here}")


def test_the_definition_is_kept_word_for_word(cluster: Cluster) -> None:
    status, found = cluster.server.request("GET", PATH)
    assert status == 200
    kept = dict(leaves(found["spec"]))
    dropped = {path: value for path, value in leaves(read_crd()["spec"]) if kept.get(path, "absent") != value}
    excused = {word for word, since in KNOWN_SINCE.items() if cluster.version < since}
    assert {path: value for path, value in dropped.items() if not excused & set(path)} == {}
    conditions = {condition["type"]: condition["status"] for condition in found["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions.get("NonStructuralSchema") != "True"


def test_a_status_with_every_field_is_kept_as_it_is(ground: RealStage) -> None:
    written = render_status(fullest_status())
    ground.kube.put(PIPELINE)
    assert ground.kube.patch(NAME, {"status": written}, subresource="status")["status"] == written
    assert (
        json.loads(ground.cluster.run_kubectl("get", "fpl", NAME, "-n", ground.namespace, "-o", "json"))["status"]
        == written
    )


async def test_what_is_written_to_the_status_leaves_the_rest_alone_and_the_other_way_round(ground: RealStage) -> None:
    before = ground.kube.put({**PIPELINE, "spec": {"suspend": True}})
    everything = {
        "metadata": {"annotations": {f"{GROUP}/approve": "true"}, "labels": {"a": "b"}},
        "spec": {"suspend": False},
        "status": {"state": "Running"},
    }
    after = ground.kube.patch(NAME, everything, subresource="status")
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])
    assert "annotations" not in after["metadata"]
    assert after["status"]["state"] == "Running"
    after = ground.kube.patch(NAME, {**everything, "status": {"state": "Forged"}})
    assert (after["status"]["state"], after["spec"]["suspend"]) == ("Running", False)
    created = {**PIPELINE, "metadata": {"name": "other"}, "status": {"state": "Forged"}}
    assert "state" not in ground.kube.put(created).get("status", {})


async def test_a_status_is_written_only_as_it_was_read(ground: RealStage) -> None:
    first = ground.kube.put(PIPELINE)["metadata"]["resourceVersion"]
    ground.annotate(NAME, reason="changed")
    path = f"/apis/{API}/namespaces/{ground.namespace}/pipelines/{NAME}/status"
    patch = {"metadata": {"resourceVersion": first}, "status": {"state": "Running"}}
    status, answer = ground.cluster.server.request("PATCH", path, patch, content_type="application/merge-patch+json")
    assert (status, answer["reason"]) == (409, "Conflict")


async def test_what_waits_can_be_selected(ground: RealStage) -> None:
    need(ground.cluster, 1, 31, what="selectable fields")
    for name, state in (("one", "AwaitingApproval"), ("two", "Running")):
        ground.kube.put({**PIPELINE, "metadata": {"name": name}})
        ground.kube.patch(name, {"status": {"state": state}}, subresource="status")
    found = await ground.kubectl("get", "fpl", "--field-selector", "status.state=AwaitingApproval", "-o", "name")
    assert found.split() == [f"pipeline.{GROUP}/one"]
