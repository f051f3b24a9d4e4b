"""Trouble on request: faults, holds, watches that end or lag, and a server that is killed and comes back."""

import asyncio
import contextlib
import json

import aiohttp
import pytest

from pipeline_approver.sandbox.kube import KubeServer
from support.rawkube import RawKube, until

PATCH_STATUS = ("patch", "widgets/status")
UP = {"status": {"phase": "Up"}}


async def phase(raw: RawKube) -> str | None:
    found = (await raw.get("a")).object.get("status", {}).get("phase")
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (409, "Conflict"),
        (410, "Expired"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (503, "ServiceUnavailable"),
    ],
)
async def test_a_status_fault_looks_like_a_refusal(
    memory_server: KubeServer, memory: RawKube, status: int, reason: str
) -> None:
    await memory.create("a")
    fault = memory_server.faults.add(PATCH_STATUS, kind="status", status=status, retry_after=7, times=2)
    for _ in range(2):
        answer = await memory.merge("a", UP, sub="/status")
        assert answer.refusal == (status, reason)
        assert answer.headers["Retry-After"] == "7"
    assert await phase(memory) is None
    assert (await memory.merge("a", UP, sub="/status")).status == 200
    assert fault.hits == 2


@pytest.mark.parametrize(("kind", "applied"), [("drop", False), ("applied_then_drop", True), ("drop_mid_body", True)])
async def test_a_connection_can_be_cut(memory_server: KubeServer, memory: RawKube, kind: str, applied: bool) -> None:
    await memory.create("a")
    memory_server.faults.add(PATCH_STATUS, kind=kind)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await memory.merge("a", UP, sub="/status")
    assert await phase(memory) == ("Up" if applied else None)
    assert next(r.status for r in memory_server.requests if r.verb == "patch") == 0


@pytest.mark.parametrize(("kind", "applied"), [("hang", False), ("applied_then_hang", True)])
async def test_an_answer_may_never_come(memory_server: KubeServer, memory: RawKube, kind: str, applied: bool) -> None:
    await memory.create("a")
    memory_server.faults.add(PATCH_STATUS, kind=kind)
    call = asyncio.ensure_future(memory.merge("a", UP, sub="/status"))

    async def is_there() -> bool:
        return memory_server.counts[PATCH_STATUS] == 1 and (await phase(memory) == "Up") is applied

    await until(is_there)
    assert await phase(memory) == ("Up" if applied else None)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call


async def test_a_proxy_may_answer_instead(memory_server: KubeServer, memory: RawKube) -> None:
    await memory.create("a")
    memory_server.faults.add(("get", "widgets"), kind="html", status=502)
    answer = await memory.get("a")
    assert (answer.status, answer.headers["Content-Type"].partition(";")[0]) == (502, "text/html")
    memory_server.faults.add(("list", "widgets"), kind="truncate")
    with pytest.raises(json.JSONDecodeError):
        await memory.call("GET", memory.widgets)
    memory_server.faults.add(("patch", "widgets/status"), kind="applied_then_status", status=504)
    assert (await memory.merge("a", UP, sub="/status")).refusal == (504, "Timeout")
    assert await phase(memory) == "Up"


async def test_a_fault_may_be_about_one_object_and_any_verb(memory_server: KubeServer, memory: RawKube) -> None:
    for name in "ab":
        await memory.create(name)
    memory_server.faults.add(("*", "widgets"), kind="status", times=None, name="a")
    assert (await memory.get("a")).status == 503
    assert (await memory.delete("a")).status == 503
    assert (await memory.get("b")).status == 200
    memory_server.faults.clear()
    assert (await memory.get("a")).status == 200


async def test_a_fault_may_refuse_watches(memory_server: KubeServer, memory: RawKube) -> None:
    memory_server.faults.add(("watch", "widgets"), kind="status", status=500)
    assert (await memory.call("GET", memory.widgets, watch="true")).status == 500


@pytest.mark.parametrize("where", ["before", "after"])
async def test_a_hold_stops_a_request_at_an_exact_point(memory_server: KubeServer, memory: RawKube, where: str) -> None:
    await memory.create("a")
    hold = memory_server.hold(PATCH_STATUS, where=where, name="a")
    call = asyncio.ensure_future(memory.merge("a", UP, sub="/status"))
    await hold.reached.wait()
    assert await phase(memory) == ("Up" if where == "after" else None)
    hold.release()
    assert (await call).status == 200
    assert await phase(memory) == "Up"


async def test_a_held_request_can_be_cut_off_before_it_is_applied(memory_server: KubeServer, memory: RawKube) -> None:
    await memory.create("a")
    hold = memory_server.hold(PATCH_STATUS)
    call = asyncio.ensure_future(memory.merge("a", UP, sub="/status"))
    await hold.reached.wait()
    hold.release(cut=True)
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await call
    assert await phase(memory) is None


async def test_a_held_request_is_applied_although_its_client_is_gone(
    memory_server: KubeServer, memory: RawKube
) -> None:
    await memory.create("a")
    hold = memory_server.hold(PATCH_STATUS)
    call = asyncio.ensure_future(memory.merge("a", UP, sub="/status"))
    await hold.reached.wait()
    call.cancel()
    async with memory.watch(resourceVersion=await memory.revision()) as watch:
        hold.release()
        assert await watch.take(1) == [("MODIFIED", "a")]
    assert await phase(memory) == "Up"


async def test_watches_expire_and_so_does_the_past(memory_server: KubeServer, memory: RawKube) -> None:
    for name in "ab":
        await memory.create(name)
    page = (await memory.call("GET", memory.widgets, limit="1")).object
    version = page["metadata"]["resourceVersion"]
    async with memory.watch(resourceVersion=version) as watch:
        memory_server.expire_watches("widgets")
        type_, status = await watch.next()
        assert (type_, status["code"]) == ("ERROR", 410)
        assert await watch.ended()
    async with memory.watch(resourceVersion=version) as watch:
        type_, status = await watch.next()
        assert (type_, status["code"]) == ("ERROR", 410)
    rest = await memory.call("GET", memory.widgets, limit="1", **{"continue": page["metadata"]["continue"]})
    assert rest.refusal == (410, "Expired")
    async with memory.watch(resourceVersion=await memory.revision()) as watch:
        await memory.create("c")
        assert await watch.take(1) == [("ADDED", "c")]


async def test_watches_are_cut_without_a_word(memory_server: KubeServer, memory: RawKube) -> None:
    version = await memory.revision()
    async with memory.watch(resourceVersion=version) as watch:
        memory_server.cut_watches()
        assert not await watch.ended()
    async with memory.watch(resourceVersion=version) as watch:
        await memory.create("a")
        assert await watch.take(1) == [("ADDED", "a")]


async def test_watches_lag_until_they_are_resumed(memory_server: KubeServer, memory: RawKube) -> None:
    version = await memory.revision()
    async with memory.watch(resourceVersion=version) as early:
        memory_server.pause_watches("widgets")
        await memory.create("a")
        assert (await memory.call("GET", memory.widgets)).names == ["a"]
        async with memory.watch(resourceVersion=version) as late:
            next_one = asyncio.ensure_future(early.take(1))
            # Another kind does not lag, so its event proves that time has passed.
            async with memory.watch(f"{memory.core}/configmaps", resourceVersion=version) as other:
                await memory.call(
                    "POST",
                    f"{memory.core}/configmaps",
                    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}},
                )
                assert await other.take(1) == [("ADDED", "c")]
            assert not next_one.done()
            memory_server.resume_watches("widgets")
            assert await next_one == [("ADDED", "a")]
            assert await late.take(1) == [("ADDED", "a")]


async def test_a_killed_server_comes_back_with_its_state_and_its_port(
    memory_server: KubeServer, memory: RawKube
) -> None:
    await memory.create("a")
    version, url = await memory.revision(), memory_server.url
    hold = memory_server.hold(PATCH_STATUS)
    held = asyncio.ensure_future(memory.merge("a", UP, sub="/status"))
    await hold.reached.wait()
    async with memory.watch(resourceVersion=version) as watch:
        await memory_server.stop()
        assert not await watch.ended()
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await held
    with pytest.raises(aiohttp.ClientConnectionError):
        await memory.get("a")
    await memory_server.start()
    assert memory_server.url == url
    assert await phase(memory) is None
    async with memory.watch(resourceVersion=version) as watch:
        await memory.create("b")
        assert await watch.take(1) == [("ADDED", "b")]


async def test_every_request_is_counted_and_recorded(memory_server: KubeServer, memory: RawKube) -> None:
    memory_server.counts.clear()
    memory_server.requests.clear()
    await memory.create("a")
    await memory.merge("a", UP, sub="/status", fieldManager="me")
    await memory.get("nope")
    assert memory_server.counts == {("create", "widgets"): 1, PATCH_STATUS: 1, ("get", "widgets"): 1}
    seen = [(r.method, r.path, r.query, r.user, r.manager, r.status) for r in memory_server.requests]
    assert seen == [
        ("POST", memory.widgets, "", "admin", "probe", 201),
        ("PATCH", f"{memory.widgets}/a/status", "fieldManager=me", "admin", "me", 200),
        ("GET", f"{memory.widgets}/nope", "", "admin", "probe", 404),
    ]


async def test_a_manifest_can_be_put_without_http(memory_server: KubeServer) -> None:
    manifest = {
        "apiVersion": "conformance.example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "a"},
        "spec": {"size": 1},
    }
    made = memory_server.put(manifest)
    assert made["spec"]["colour"] == "Red"
    memory_server.put({**manifest, "status": {"phase": "Up"}}, subresource="status", manager="operator")
    again = memory_server.put({**manifest, "spec": {"size": 2}})
    assert (again["status"], again["metadata"]["generation"]) == ({"phase": "Up"}, 2)
    assert memory_server.get("widgets", "default", "a") == again
    assert memory_server.list("widgets", "default") == [again]
    memory_server.delete("widgets", "default", "a")
    assert memory_server.get("widgets", "default", "a") is None
    with pytest.raises(ValueError, match="put its CRD first"):
        memory_server.put({"apiVersion": "nothing/v1", "kind": "Nothing", "metadata": {"name": "a"}})


async def test_a_namespace_ends_once_nothing_in_it_is_held(memory_server: KubeServer, memory: RawKube) -> None:
    await memory.create("a", metadata={"finalizers": ["example.com/keep"]})
    await memory.create("b")
    path = f"/api/v1/namespaces/{memory.namespace}"
    assert (await memory.call("DELETE", path)).object["status"] == {"phase": "Terminating"}
    assert (await memory.call("GET", memory.widgets)).names == ["a"]
    assert (await memory.try_create("c")).refusal == (403, "Forbidden")
    await memory.merge("a", {"metadata": {"finalizers": None}})
    assert (await memory.call("GET", path)).status == 404


async def test_what_an_object_owned_goes_with_it(memory: RawKube) -> None:
    uid = (await memory.create("a"))["metadata"]["uid"]
    owner = {"apiVersion": "conformance.example.com/v1", "kind": "Widget", "name": "a", "uid": uid}
    await memory.create("b", metadata={"ownerReferences": [owner]})
    await memory.delete("a")
    assert (await memory.get("b")).status == 404


async def test_a_definition_takes_its_objects_with_it(memory: RawKube) -> None:
    await memory.create("a")
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.conformance.example.com"
    assert (await memory.call("DELETE", path)).status == 200
    assert (await memory.get("a")).status == 404
    assert (await memory.call("GET", path)).status == 404
