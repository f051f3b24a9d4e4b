"""The built-in kinds that an operator and its users meet."""

import base64
from typing import Any

import pytest

from support.rawkube import MERGE, RawKube


def secret(name: str, **rest: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **rest}


def event(name: str, namespace: str, **rest: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": "p", "uid": "u"},
        "type": "Normal",
        "reason": "Tested",
        "message": "it was tested",
        "count": 1,
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "source": {"component": "probe"},
        **rest,
    }


def lease(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}, "spec": spec}


async def test_a_secret_takes_text_and_keeps_bytes(api: RawKube) -> None:
    data = {"a": base64.b64encode(b"x").decode()}
    made = await api.call("POST", f"{api.core}/secrets", secret("s", data=data, stringData={"b": "y"}))
    assert made.object["data"] == {"a": "eA==", "b": "eQ=="}
    assert made.object["type"] == "Opaque"
    assert "stringData" not in made.object
    assert "generation" not in made.object["metadata"]
    assert (await api.call("GET", f"{api.core}/secrets", fieldSelector="type=Opaque")).names == ["s"]


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        ({"data": {"a": "not base64!"}}, 400),
        ({"data": {"a": 1}}, 400),
        ({"data": ["a"]}, 400),
        ({"type": 7}, 400),
        ({"data": {"bad key!": "eA=="}}, 422),
        ({"type": "pipeline-approver.io/connection", "stringData": {"url": "http://x"}}, 201),
    ],
    ids=str,
)
async def test_a_secret_is_checked(api: RawKube, rest: dict[str, Any], status: int) -> None:
    assert (await api.call("POST", f"{api.core}/secrets", secret("s", **rest))).status == status


async def test_the_type_of_a_secret_stays(api: RawKube) -> None:
    await api.call("POST", f"{api.core}/secrets", secret("s"))
    changed = await api.call("PATCH", f"{api.core}/secrets/s", {"type": "other"}, kind=MERGE)
    assert changed.causes == ["type"]


async def test_an_event_belongs_to_the_namespace_of_its_object(api: RawKube) -> None:
    path = f"{api.core}/events"
    assert (await api.call("POST", path, event("e", api.namespace))).status == 201
    assert (await api.call("POST", path, event("e", api.namespace))).refusal == (409, "AlreadyExists")
    other = event("f", api.namespace)
    other["involvedObject"]["namespace"] = "default"
    assert (await api.call("POST", path, other)).causes == ["involvedObject.namespace"]
    found = await api.call("GET", path, fieldSelector="involvedObject.name=p,involvedObject.kind=Pod")
    assert found.names == ["e"]
    counted = await api.call("PATCH", f"{path}/e", {"count": 2}, kind=MERGE)
    assert counted.object["count"] == 2


@pytest.mark.parametrize(
    "rest",
    [{"count": "two"}, {"lastTimestamp": "now"}, {"message": 7}, {"involvedObject": "p"}],
    ids=str,
)
async def test_an_event_is_checked(api: RawKube, rest: dict[str, Any]) -> None:
    assert (await api.call("POST", f"{api.core}/events", event("e", api.namespace, **rest))).status == 400


async def test_a_lease_is_held_by_whoever_writes_first(api: RawKube) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{api.namespace}/leases"
    first = (
        await api.call(
            "POST",
            path,
            lease(
                "l",
                holderIdentity="a",
                leaseDurationSeconds=15,
                leaseTransitions=0,
                acquireTime="2026-01-01T00:00:00.000000Z",
                renewTime="2026-01-01T00:00:00.000000Z",
            ),
        )
    ).object
    first["spec"]["holderIdentity"] = "b"
    assert (await api.call("PUT", f"{path}/l", first)).object["spec"]["holderIdentity"] == "b"
    assert (await api.call("PUT", f"{path}/l", first)).refusal == (409, "Conflict")


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({"leaseDurationSeconds": "15"}, 400),
        ({"renewTime": "now"}, 400),
        ({"renewTime": "2026-01-01T00:00:00Z"}, 400),
        ({"holderIdentity": 7}, 400),
        ({"leaseDurationSeconds": 0}, 422),
        ({"leaseTransitions": -1}, 422),
        ({}, 201),
    ],
    ids=str,
)
async def test_a_lease_is_checked(api: RawKube, spec: dict[str, Any], status: int) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{api.namespace}/leases"
    assert (await api.call("POST", path, lease("l", **spec))).status == status


async def test_unknown_fields_of_built_in_kinds_are_dropped(api: RawKube) -> None:
    made = await api.call("POST", f"{api.core}/configmaps", {**config_map("c"), "extra": 1})
    assert made.object["data"] == {"a": "b"}
    assert "extra" not in made.object


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}


async def test_a_namespace_is_active_and_ends_with_what_is_in_it(api: RawKube) -> None:
    name = f"{api.namespace}-more"
    made = await api.call(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    assert made.object["status"] == {"phase": "Active"}
    assert made.object["spec"] == {"finalizers": ["kubernetes"]}
    going = (await api.call("DELETE", f"/api/v1/namespaces/{name}")).object
    assert going["metadata"]["deletionTimestamp"]
    assert going["status"]["phase"] == "Terminating"


@pytest.mark.parametrize(
    "path",
    ["secrets", "configmaps", "events", "serviceaccounts"],
)
async def test_built_in_kinds_have_columns(api: RawKube, path: str) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "secrets": secret("x", stringData={"a": "b"}),
        "configmaps": config_map("x"),
        "events": event("x", api.namespace),
        "serviceaccounts": {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x"}},
    }
    columns = {
        "secrets": {"Name": "x", "Type": "Opaque"},
        "configmaps": {"Name": "x"},
        "events": {"Type": "Normal", "Reason": "Tested", "Object": "pod/p", "Message": "it was tested"},
        "serviceaccounts": {"Name": "x"},
    }
    assert (await api.call("POST", f"{api.core}/{path}", bodies[path])).status == 201
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = (await api.call("GET", f"{api.core}/{path}", accept=accept)).object
    row = dict(zip((c["name"] for c in table["columnDefinitions"]), table["rows"][-1]["cells"], strict=True))
    assert {key: row[key] for key in columns[path]} == columns[path]
