"""Watches: what informers and kubectl rely on."""

import asyncio

from support.rawkube import RawKube

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


async def test_a_watch_goes_on_from_a_version_and_repeats_nothing(api: RawKube) -> None:
    await api.create("a")
    version = await api.revision()
    await api.merge("a", {"spec": {"size": 2}})
    await api.create("b")
    async with api.watch(resourceVersion=version) as watch:
        assert await watch.take(2) == [("MODIFIED", "a"), ("ADDED", "b")]
        await api.delete("a")
        assert await watch.take(1) == [("DELETED", "a")]


async def test_events_carry_the_object_and_its_version(api: RawKube) -> None:
    version = await api.revision()
    async with api.watch(resourceVersion=version) as watch:
        made = await api.create("a")
        assert await watch.next() == ("ADDED", made)
        changed = (await api.merge("a", {"status": {"phase": "Up"}}, sub="/status")).object
        assert await watch.next() == ("MODIFIED", changed)
        await api.delete("a")
        type_, last = await watch.next()
        assert type_ == "DELETED"
        assert int(last["metadata"].pop("resourceVersion")) > int(changed["metadata"].pop("resourceVersion"))
        assert last == changed


async def test_a_change_that_changes_nothing_is_no_event(api: RawKube) -> None:
    await api.create("a")
    async with api.watch(resourceVersion=await api.revision()) as watch:
        await api.merge("a", {"spec": {"size": 1}})
        await api.create("b")
        assert await watch.take(1) == [("ADDED", "b")]


async def test_a_watch_of_the_present_begins_with_everything(api: RawKube) -> None:
    for name in "ab":
        await api.create(name)
    for query in ({"resourceVersion": "0"}, {}):
        async with api.watch(**query) as watch:
            assert sorted(await watch.take(2)) == [("ADDED", "a"), ("ADDED", "b")]
            await api.merge("a", {"metadata": {"annotations": {"seen": str(len(query))}}})
            assert await watch.take(1) == [("MODIFIED", "a")]


async def test_a_version_that_is_too_old_is_gone(api: RawKube) -> None:
    async with api.watch(resourceVersion="1") as watch:
        type_, status = await watch.next()
        assert (type_, status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")
        assert await watch.ended()


async def test_a_version_that_is_none_is_refused(api: RawKube) -> None:
    answer = await api.call("GET", api.widgets, watch="true", resourceVersion="abc")
    assert answer.body["status"] == "Failure"


async def test_objects_enter_and_leave_a_selection(api: RawKube) -> None:
    await api.create("a")
    async with api.watch(labelSelector="team=blue", resourceVersion=await api.revision()) as watch:
        await api.merge("a", {"metadata": {"labels": {"team": "blue"}}})
        await api.merge("a", {"spec": {"size": 2}})
        changed = (await api.merge("a", {"metadata": {"labels": {"team": "red"}}})).object
        assert await watch.take(2) == [("ADDED", "a"), ("MODIFIED", "a")]
        type_, left = await watch.next()
        assert type_ == "DELETED"
        assert left["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


async def test_one_object_can_be_watched(api: RawKube) -> None:
    for name in "ab":
        await api.create(name)
    async with api.watch(fieldSelector="metadata.name=b") as watch:
        await api.merge("a", {"spec": {"size": 2}})
        await api.merge("b", {"spec": {"size": 2}})
        assert await watch.take(2) == [("ADDED", "b"), ("MODIFIED", "b")]


async def test_a_selectable_field_selects_in_a_watch(api: RawKube) -> None:
    api.needs((1, 30), "selectable fields")
    await api.create("a")
    async with api.watch(fieldSelector="status.phase=Up", resourceVersion=await api.revision()) as watch:
        await api.merge("a", {"status": {"phase": "Up"}}, sub="/status")
        await api.merge("a", {"status": {"phase": "Down"}}, sub="/status")
        assert await watch.take(2) == [("ADDED", "a"), ("DELETED", "a")]


async def test_a_watch_sees_its_namespace_alone(api: RawKube) -> None:
    version = await api.revision()
    default = api.widgets.replace(api.namespace, "default")
    manifest = {"apiVersion": "conformance.example.com/v1", "kind": "Widget", "spec": {"size": 1}}
    name = f"of-{api.namespace}"
    async with api.watch(resourceVersion=version) as here, api.watch(api.all_widgets, resourceVersion=version) as all_:
        await api.call("POST", default, {**manifest, "metadata": {"name": name}})
        await api.create("b")
        assert await here.take(1) == [("ADDED", "b")]
        assert await all_.take(2) == [("ADDED", name), ("ADDED", "b")]
    await api.call("DELETE", f"{default}/{name}")


async def test_a_watch_ends_in_order_when_its_time_is_up(api: RawKube) -> None:
    async with api.watch(resourceVersion=await api.revision(), timeoutSeconds="1") as watch:
        assert await watch.ended()


async def test_initial_events_end_with_a_bookmark(api: RawKube) -> None:
    api.needs((1, 32), "initial events in watches")
    for name in "ab":
        await api.create(name)
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with api.watch(**query) as watch:
        assert await watch.take(2) == [("ADDED", "a"), ("ADDED", "b")]
        type_, bookmark = await watch.next()
        assert type_ == "BOOKMARK"
        assert bookmark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await api.create("c")
        assert await watch.take(1) == [("ADDED", "c")]
    version = bookmark["metadata"]["resourceVersion"]
    async with api.watch(resourceVersion=version) as watch:
        assert await watch.take(1) == [("ADDED", "c")]
    answer = await api.call("GET", api.widgets, watch="true", sendInitialEvents="true")
    assert answer.refusal == (422, "Invalid")


async def test_a_bookmark_before_the_end_names_a_version_to_go_on_from(api: RawKube) -> None:
    version = await api.revision()
    async with api.watch(resourceVersion=version, timeoutSeconds="4", allowWatchBookmarks="true") as watch:
        await api.create("a")
        assert await watch.take(1) == [("ADDED", "a")]
        type_, bookmark = await watch.next()
        assert (type_, bookmark["kind"]) == ("BOOKMARK", "Widget")
    version = bookmark["metadata"]["resourceVersion"]
    await api.create("b")
    async with api.watch(resourceVersion=version) as watch:
        assert await watch.take(1) == [("ADDED", "b")]


async def test_a_watch_may_show_rows_or_only_metadata(api: RawKube) -> None:
    version = await api.revision()
    await api.create("a")
    await api.create("b")
    async with api.watch(resourceVersion=version, accept=TABLE) as watch:
        (_, first), (_, second) = await watch.next(), await watch.next()
        assert [first["kind"], second["kind"]] == ["Table", "Table"]
        assert first["columnDefinitions"][1]["name"] == "Size"
        assert not second["columnDefinitions"]
        assert second["rows"][0]["cells"][:2] == ["b", 1]
    async with api.watch(resourceVersion=version, accept=PARTIAL) as watch:
        _, partial = await watch.next()
        assert (partial["kind"], set(partial)) == ("PartialObjectMetadata", {"kind", "apiVersion", "metadata"})


async def test_many_watches_see_the_same_order(api: RawKube) -> None:
    version = await api.revision()
    names = [f"n{number}" for number in range(20)]
    async with api.watch(resourceVersion=version) as one, api.watch(resourceVersion=version) as other:
        await asyncio.gather(*(api.create(name) for name in names))
        assert await one.take(20) == (seen := await other.take(20))
        assert sorted(name for _, name in seen) == sorted(names)
