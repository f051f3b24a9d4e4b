"""The client of the Kubernetes API: what it sends, and what becomes of it."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from pipeline_approver.kube import errors
from pipeline_approver.kube.api import KubeApi
from pipeline_approver.sandbox.kube import KubeServer
from support.kubeapi import PIPELINE, call_every_method, refuse


@pytest.mark.parametrize("kind", ["drop", "drop_mid_body", "truncate", "html", "nulls", "applied_then_drop"])
async def test_what_breaks_on_the_way_is_for_later(server: KubeServer, kube: KubeApi, kind: str) -> None:
    server.put(build_pipeline())
    server.faults.add(("*", "*"), kind=kind, status=200, times=None)
    for call in (kube.get_pipeline("default", "orders"), kube.list_pipelines(None)):
        with pytest.raises(errors.Unavailable):
            await call


async def test_a_status_is_merged_and_nothing_else_is_touched(server: KubeServer, kube: KubeApi) -> None:
    made = server.put(build_pipeline(annotations={"a": "b"}))
    version = made["metadata"]["resourceVersion"]
    patch = {"state": "Running", "observedGeneration": 1}
    written = await kube.patch_status("default", "orders", resource_version=version, status=patch)
    assert written["status"] == {"state": "Running", "observedGeneration": 1}
    version = written["metadata"]["resourceVersion"]
    written = await kube.patch_status("default", "orders", resource_version=version, status={"state": None})
    assert written["status"] == {"observedGeneration": 1}
    assert written["metadata"]["annotations"] == {"a": "b"}
    assert written["metadata"]["generation"] == made["metadata"]["generation"]
    assert written == await kube.get_pipeline("default", "orders")
    assert {record.manager for record in server.requests if record.verb == "patch"} == {"pipeline-approver"}


async def test_a_status_is_written_only_to_what_was_read(server: KubeServer, kube: KubeApi) -> None:
    made = server.put(build_pipeline())
    server.put(build_pipeline(annotations={"changed": "since"}))
    with pytest.raises(errors.Conflict):
        await kube.patch_status(
            "default", "orders", resource_version=made["metadata"]["resourceVersion"], status={"state": "Running"}
        )
    assert "state" not in (await kube.get_pipeline("default", "orders"))["status"]


async def test_a_status_that_the_definition_refuses_is_invalid(server: KubeServer, kube: KubeApi) -> None:
    made = server.put(build_pipeline())
    with pytest.raises(errors.Invalid, match="state"):
        await kube.patch_status(
            "default", "orders", resource_version=made["metadata"]["resourceVersion"], status={"state": "x" * 65}
        )


async def test_what_does_not_exist_is_not_found(kube: KubeApi) -> None:
    for call in (
        kube.get_pipeline("default", "orders"),
        kube.patch_status("default", "orders", resource_version="1", status={}),
        kube.read_secret("default", "feldera"),
        kube.get_event("default", "e"),
    ):
        with pytest.raises(errors.NotFound):
            await call


async def test_a_missing_permission_is_named(server: KubeServer, kube: KubeApi) -> None:
    server.allow = lambda *_: False
    with pytest.raises(errors.Forbidden, match=r"pipelines.* is forbidden"):
        await kube.list_pipelines(None)


async def test_long_lists_come_in_pieces(server: KubeServer, kube: KubeApi) -> None:
    made = [server.put(build_pipeline(f"p{number:03}")) for number in range(25)]
    expected = {
        one["metadata"]["uid"]: ("default", one["metadata"]["name"], one["metadata"]["resourceVersion"]) for one in made
    }
    assert await kube.list_pipelines(None, chunk=10) == expected
    assert await kube.list_pipelines("default", chunk=10) == expected
    assert await kube.list_pipelines("elsewhere") == {}
    assert server.counts[("list", "pipelines")] == 3 + 3 + 1


async def test_a_list_that_cannot_be_continued_begins_anew(serve: Any) -> None:
    names = [f"p{number}" for number in range(4)]
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.query_string)
        start = request.query.get("continue")
        if start and len(asked) == 2:
            return refuse(410, "Expired", "The provided continue parameter is too old")
        page = names[2:] if start else names[:2]
        items = [{"metadata": {"uid": name, "namespace": "n", "name": name}} for name in page]
        return web.json_response({"metadata": {} if start else {"continue": "token"}, "items": items})

    listed = await (await serve(handler)).list_pipelines(None, chunk=2)
    assert listed == {name: ("n", name, "") for name in names}
    assert asked == ["limit=2", "limit=2&continue=token", "limit=2", "limit=2&continue=token"]


async def test_a_list_asks_for_names_only(serve: Any) -> None:
    async def handler(request: web.Request) -> web.Response:
        assert "as=PartialObjectMetadataList" in request.headers["Accept"]
        assert request.path == "/apis/pipeline-approver.io/v1alpha1/pipelines"
        return web.json_response({"metadata": {}, "items": [PIPELINE]})

    assert await (await serve(handler)).list_pipelines(None) == {"u": ("default", "orders", "")}


@pytest.mark.parametrize("name", ["a/b", "a%2Fb", "a?watch=true", "a#b", "a b", "é", "x" * 253], ids=lambda n: n[:9])
async def test_no_name_leaves_its_place_in_the_path(serve: Any, name: str) -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.json_response(PIPELINE)

    kube = await serve(handler)
    await kube.read_secret(name, name)
    await kube.get_pipeline(name, name)
    for path, plural in zip(seen, ("secrets", "pipelines"), strict=True):
        parts = path.split("/")
        assert (parts[-2], parts[-4]) == (plural, "namespaces")
        assert "?" not in path


@pytest.mark.parametrize("name", ["", ".", ".."])
async def test_a_name_that_would_lead_elsewhere_is_not_found(serve: Any, name: str) -> None:
    """`…/secrets/` is the list of all Secrets."""

    async def handler(_: web.Request) -> web.Response:
        raise AssertionError("nothing is asked")

    kube = await serve(handler)
    for call in (kube.read_secret("default", name), kube.read_secret(name, "x"), kube.get_pipeline("default", name)):
        with pytest.raises(errors.NotFound):
            await call


async def test_refused_credentials_are_renewed_once_and_the_call_is_made_again(serve: Any) -> None:
    """Tokens of exec plugins expire within minutes."""
    seen: list[str] = []
    renewed: list[int] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.json_response(PIPELINE) if seen[-1] == "Bearer new" else refuse(401, "Unauthorized")

    async def renew(configuration: Any) -> None:
        renewed.append(1)
        configuration.api_key["BearerToken"] = "Bearer new"

    kube = await serve(handler, token="old", renew=renew)
    await asyncio.gather(*(kube.get_pipeline("default", "orders") for _ in range(5)))
    assert sorted(seen) == ["Bearer new"] * 5 + ["Bearer old"] * 5
    assert len(renewed) == 1


async def test_credentials_that_are_refused_for_good_are_not_renewed_all_the_time(serve: Any) -> None:
    renewed: list[int] = []

    async def handler(_: web.Request) -> web.Response:
        return refuse(401, "Unauthorized")

    async def renew(configuration: Any) -> None:
        renewed.append(1)
        raise errors.KubeError("the plugin fails")

    kube = await serve(handler, token="old", renew=renew)
    for error in await call_every_method(kube):
        assert (type(error), error.status) == (errors.Forbidden, 401)
    assert len(renewed) == 1


async def test_a_body_is_json_with_the_right_type(serve: Any) -> None:
    seen: list[tuple[str, str, Any]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.content_type, json.loads(await request.text())))
        return web.json_response(PIPELINE)

    kube = await serve(handler)
    await kube.create_event("default", {"a": "é\ud800"})
    await kube.patch_event("default", "e", {"count": 2})
    await kube.patch_status("default", "orders", resource_version="7", status={"state": None})
    merge = "application/merge-patch+json"
    assert seen == [
        ("POST", "application/json", {"a": "é\ud800"}),
        ("PATCH", merge, {"count": 2}),
        ("PATCH", merge, {"metadata": {"resourceVersion": "7"}, "status": {"state": None}}),
    ]


def build_pipeline(name: str = "orders", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "pipeline-approver.io/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": name, "namespace": "default", **metadata},
    }
