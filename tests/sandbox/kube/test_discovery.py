"""What clients ask a server about itself."""

import pytest

from support.rawkube import API, GROUP, RawKube


async def test_discovery_lists_groups_versions_and_kinds(api: RawKube) -> None:
    assert (await api.call("GET", "/api")).object["versions"] == ["v1"]
    groups = {group["name"]: group for group in (await api.call("GET", "/apis")).object["groups"]}
    assert {GROUP, "apiextensions.k8s.io", "coordination.k8s.io", "authorization.k8s.io"} <= set(groups)
    assert groups[GROUP]["preferredVersion"] == {"groupVersion": API, "version": "v1"}
    assert (await api.call("GET", f"/apis/{GROUP}")).object["versions"] == [{"groupVersion": API, "version": "v1"}]
    served = (await api.call("GET", f"/apis/{API}")).object
    assert (served["kind"], served["groupVersion"]) == ("APIResourceList", API)
    resources = {entry["name"]: entry for entry in served["resources"]}
    widgets = resources["widgets"]
    assert {key: widgets[key] for key in ("singularName", "namespaced", "kind", "shortNames")} == {
        "singularName": "widget",
        "namespaced": True,
        "kind": "Widget",
        "shortNames": ["wd"],
    }
    assert {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"} <= set(widgets["verbs"])
    assert sorted(resources["widgets/status"]["verbs"]) == ["get", "patch", "update"]
    assert resources["gadgets"]["namespaced"] is False
    assert "gadgets/status" not in resources


async def test_discovery_of_the_core_has_what_operators_need(api: RawKube) -> None:
    core = (await api.call("GET", "/api/v1")).object
    assert core["groupVersion"] == "v1"
    names = {entry["name"] for entry in core["resources"]}
    assert {"namespaces", "secrets", "events", "configmaps", "serviceaccounts"} <= names
    assert (await api.call("GET", "/apis/nothing.example.com/v1")).status == 404


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
async def test_a_server_says_that_it_lives(api: RawKube, path: str) -> None:
    answer = await api.call("GET", path, accept="*/*")
    assert (answer.status, answer.body) == (200, "ok")


async def test_a_server_says_which_it_is(api: RawKube) -> None:
    version = (await api.call("GET", "/version")).object
    assert version["major"] == "1"
    assert version["gitVersion"].startswith("v1.")


async def test_openapi_says_what_a_patch_takes_and_describes_every_field(api: RawKube) -> None:
    api.needs((1, 27), "OpenAPI v3 of custom resources")
    paths = (await api.call("GET", "/openapi/v3")).object["paths"]
    url, _, query = paths[f"apis/{API}"]["serverRelativeURL"].partition("?")
    document = (await api.call("GET", url, **dict([query.split("=", 1)]))).object
    patch = document["paths"][f"/apis/{API}/namespaces/{{namespace}}/widgets/{{name}}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": GROUP, "version": "v1", "kind": "Widget"}
    parameters = {parameter["name"] for parameter in patch["parameters"]}
    assert {"dryRun", "fieldManager", "fieldValidation"} <= parameters
    schemas = document["components"]["schemas"]
    [widget] = [
        schema
        for schema in schemas.values()
        if {"group": GROUP, "version": "v1", "kind": "Widget"} in schema.get("x-kubernetes-group-version-kind", ())
    ]
    assert widget["properties"]["spec"]["description"] == "What the widget should be."
    assert widget["properties"]["spec"]["properties"]["size"]["maximum"] == 100
