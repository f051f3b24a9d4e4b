"""Objects as every Kubernetes API server keeps them."""

import pytest

from support.rawkube import API, RawKube, widget


async def test_a_created_object_has_an_identity(api: RawKube) -> None:
    answer = await api.try_create("a", metadata={"labels": {"team": "blue"}})
    assert answer.status == 201
    metadata = answer.object["metadata"]
    assert metadata["generation"] == 1
    assert metadata["namespace"] == api.namespace
    assert metadata["uid"]
    assert metadata["resourceVersion"].isdecimal()
    assert metadata["creationTimestamp"].endswith("Z")
    assert (await api.get("a")).object == answer.object


async def test_a_name_can_be_taken_only_once(api: RawKube) -> None:
    await api.create("a")
    answer = await api.try_create("a")
    assert answer.refusal == (409, "AlreadyExists")
    assert answer.body["message"] == 'widgets.conformance.example.com "a" already exists'


async def test_a_name_can_be_left_to_the_server(api: RawKube) -> None:
    manifest = widget("", size=1)
    manifest["metadata"] = {"generateName": "gen-"}
    name = (await api.call("POST", api.widgets, manifest)).object["metadata"]["name"]
    assert name.startswith("gen-")
    assert len(name) > len("gen-")


@pytest.mark.parametrize(
    ("metadata", "fields"),
    [
        ({"name": "Upper_Case"}, ["metadata.name"]),
        ({"name": "a" * 254}, ["metadata.name"]),
        ({"labels": {"team": "not a label"}}, ["metadata.labels"]),
        ({"labels": {"bad key!": "x"}}, ["metadata.labels"]),
        ({"annotations": {"bad key!": "x"}}, ["metadata.annotations"]),
        ({"annotations": {"big": "x" * 300_000}}, ["metadata.annotations"]),
    ],
)
async def test_metadata_is_checked(api: RawKube, metadata: dict[str, object], fields: list[str]) -> None:
    answer = await api.try_create("a", metadata=metadata)
    assert sorted(set(answer.causes)) == fields


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {"n": 1}},
        {"annotations": "n"},
        {"labels": ["a"]},
        {"finalizers": "example.com/keep"},
        {"ownerReferences": [7]},
        {"name": 7},
        {"creationTimestamp": "yesterday"},
    ],
    ids=str,
)
async def test_metadata_of_another_type_is_refused(api: RawKube, metadata: dict[str, object]) -> None:
    assert (await api.try_create("a", metadata=metadata)).refusal == (400, "BadRequest")
    await api.create("b")
    patched = await api.merge("b", {"metadata": {**metadata, "name": "b"}})
    assert patched.status in (200, 400, 422)
    kept = (await api.get("b")).object["metadata"]
    assert not {"annotations", "labels", "finalizers", "ownerReferences"} & set(kept)


async def test_an_annotation_may_hold_any_text(api: RawKube) -> None:
    text = "Ünïcode ✓ 🎉\n\ttab"
    await api.create("a", metadata={"annotations": {"example.com/Some_Key": text}})
    assert (await api.get("a")).object["metadata"]["annotations"] == {"example.com/Some_Key": text}


async def test_a_version_cannot_be_given_at_creation(api: RawKube) -> None:
    assert (await api.try_create("a", metadata={"resourceVersion": "7"})).status in (400, 500)


@pytest.mark.parametrize(
    ("change", "status"),
    [({"apiVersion": "conformance.example.com/v2"}, 400), ({"kind": "Gadget"}, 422), ({"metadata": 7}, 400)],
)
async def test_a_body_of_another_kind_is_refused(api: RawKube, change: dict[str, object], status: int) -> None:
    answer = await api.call("POST", api.widgets, {**widget("a", size=1), **change})
    assert answer.status == status


async def test_a_body_that_is_no_json_is_refused(api: RawKube) -> None:
    assert (await api.call("POST", api.widgets, b"{")).refusal == (400, "BadRequest")
    assert (await api.call("POST", api.widgets, b"<a/>", kind="text/xml")).refusal == (415, "UnsupportedMediaType")


async def test_a_body_that_is_too_large_is_refused(api: RawKube) -> None:
    answer = await api.try_create("a", note="x" * 4_000_000)
    assert answer.refusal == (413, "RequestEntityTooLarge")


async def test_a_namespace_must_exist_and_agree(api: RawKube) -> None:
    nowhere = f"{api.all_widgets.removesuffix('widgets')}namespaces/nowhere/widgets"
    assert (await api.call("POST", nowhere, widget("a", size=1))).refusal == (404, "NotFound")
    answer = await api.try_create("a", metadata={"namespace": "default"})
    assert answer.refusal == (400, "BadRequest")


async def test_what_is_not_there_is_not_found(api: RawKube) -> None:
    for answer in (await api.get("nope"), await api.delete("nope"), await api.merge("nope", {})):
        assert answer.refusal == (404, "NotFound")
        assert answer.body["message"] == 'widgets.conformance.example.com "nope" not found'
    assert (await api.call("GET", "/apis/conformance.example.com/v1/gizmos")).status == 404
    assert (await api.call("GET", "/apis/nothing.example.com/v1/gizmos")).status == 404
    assert (await api.call("GET", f"{api.widgets}/nope/scale")).status == 404


async def test_the_generation_counts_changes_of_the_spec_alone(api: RawKube) -> None:
    await api.create("a")
    steps = [
        ({"spec": {"size": 2}}, ""),
        ({"metadata": {"annotations": {"k": "v"}}}, ""),
        ({"status": {"phase": "Up"}}, "/status"),
        ({"spec": {"size": 3}}, ""),
    ]
    seen = [(await api.merge("a", patch, sub=sub)).object["metadata"]["generation"] for patch, sub in steps]
    assert seen == [2, 2, 2, 3]


async def test_a_status_given_at_creation_is_dropped(api: RawKube) -> None:
    answer = await api.call("POST", api.widgets, {**widget("a", size=1), "status": {"phase": "Up"}})
    assert "status" not in answer.object


async def test_the_status_path_changes_the_status_alone(api: RawKube) -> None:
    await api.create("a")
    patch = {"status": {"phase": "Up"}, "spec": {"size": 50}, "metadata": {"annotations": {"k": "v"}}}
    after = (await api.merge("a", patch, sub="/status")).object
    assert after["status"] == {"phase": "Up"}
    assert after["spec"]["size"] == 1
    assert "annotations" not in after["metadata"]
    assert (await api.call("GET", f"{api.widgets}/a/status")).object == after


async def test_the_main_path_cannot_change_the_status(api: RawKube) -> None:
    await api.create("a")
    await api.merge("a", {"status": {"phase": "Up"}}, sub="/status")
    assert (await api.merge("a", {"status": {"phase": "Down"}})).object["status"] == {"phase": "Up"}
    replacement = (await api.get("a")).object
    replacement.pop("status")
    assert (await api.call("PUT", f"{api.widgets}/a", replacement)).object["status"] == {"phase": "Up"}


async def test_a_merge_patch_removes_with_null(api: RawKube) -> None:
    await api.create("a", note="x", metadata={"annotations": {"k": "v"}})
    after = (await api.merge("a", {"metadata": {"annotations": {"k": None}}, "spec": {"note": None}})).object
    assert "annotations" not in after["metadata"]
    assert "note" not in after["spec"]


async def test_a_patch_conditional_on_another_version_conflicts(api: RawKube) -> None:
    version = (await api.create("a"))["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version}, "status": {"phase": "Up"}}
    assert (await api.merge("a", patch, sub="/status")).status == 200
    answer = await api.merge("a", patch | {"status": {"phase": "Down"}}, sub="/status")
    assert answer.refusal == (409, "Conflict")
    assert "the object has been modified" in answer.body["message"]


async def test_a_patch_that_changes_nothing_keeps_the_version(api: RawKube) -> None:
    await api.create("a")
    await api.merge("a", {"status": {"phase": "Up"}}, sub="/status")
    before = (await api.get("a")).object
    assert (await api.merge("a", {"spec": {"size": 1}})).object == before
    assert (await api.merge("a", {"status": {"phase": "Up"}}, sub="/status")).object == before
    assert (await api.call("PUT", f"{api.widgets}/a", before)).object == before


async def test_a_replacement_needs_the_present_version(api: RawKube) -> None:
    before = await api.create("a")
    before["spec"]["size"] = 7
    assert (await api.call("PUT", f"{api.widgets}/a", before)).object["spec"]["size"] == 7
    assert (await api.call("PUT", f"{api.widgets}/a", before)).refusal == (409, "Conflict")
    del before["metadata"]["resourceVersion"]
    assert (await api.call("PUT", f"{api.widgets}/a", before)).causes == ["metadata.resourceVersion"]
    assert (await api.call("PUT", f"{api.widgets}/other", before)).status == 400


async def test_an_object_keeps_its_identity(api: RawKube) -> None:
    before = await api.create("a")
    after = (await api.merge("a", {"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 99}})).object
    assert after["metadata"]["creationTimestamp"] == before["metadata"]["creationTimestamp"]
    assert after["metadata"]["generation"] == 1
    assert (await api.merge("a", {"metadata": {"uid": "other"}})).status in (409, 422)


async def test_a_json_patch_is_carried_out_whole_or_not_at_all(api: RawKube) -> None:
    version = (await api.create("a"))["metadata"]["resourceVersion"]
    add = {"op": "add", "path": "/metadata/finalizers", "value": ["example.com/keep"]}
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": "1"}
    assert (await api.patch("a", [add, test])).refusal == (422, "Invalid")
    assert "finalizers" not in (await api.get("a")).object["metadata"]
    after = await api.patch("a", [{**test, "value": version}, add])
    assert after.object["metadata"]["finalizers"] == ["example.com/keep"]
    missing = {"op": "remove", "path": "/spec/nothing"}
    assert (await api.patch("a", [missing])).refusal == (422, "Invalid")
    assert (await api.patch("a", {"op": "remove"})).refusal == (400, "BadRequest")
    await api.merge("a", {"metadata": {"finalizers": None}})


async def test_a_patch_of_an_unknown_kind_is_refused(api: RawKube) -> None:
    await api.create("a")
    answer = await api.call("PATCH", f"{api.widgets}/a", {}, kind="application/json")
    assert answer.refusal == (415, "UnsupportedMediaType")


async def test_deleting_waits_for_finalizers(api: RawKube) -> None:
    await api.create("a", metadata={"finalizers": ["example.com/keep"]})
    held = (await api.delete("a")).object
    assert held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["generation"] == 2
    assert (await api.delete("a")).object["metadata"]["deletionTimestamp"] == held["metadata"]["deletionTimestamp"]
    added = await api.merge("a", {"metadata": {"finalizers": ["example.com/keep", "example.com/more"]}})
    assert added.causes == ["metadata.finalizers"]
    assert (await api.merge("a", {"metadata": {"finalizers": None}})).status == 200
    assert (await api.get("a")).status == 404


async def test_a_deletion_answers_with_what_is_gone(api: RawKube) -> None:
    uid = (await api.create("a"))["metadata"]["uid"]
    answer = await api.delete("a")
    assert (answer.status, answer.body["status"]) == (200, "Success")
    assert answer.body["details"] == {"name": "a", "group": "conformance.example.com", "kind": "widgets", "uid": uid}


async def test_a_deletion_may_be_conditional(api: RawKube) -> None:
    uid = (await api.create("a"))["metadata"]["uid"]
    for condition in ({"uid": "another"}, {"resourceVersion": "1"}):
        assert (await api.delete("a", {"preconditions": condition})).refusal == (409, "Conflict")
    assert (await api.delete("a", {"preconditions": {"uid": uid}})).status == 200


async def test_many_can_be_deleted_at_once(api: RawKube) -> None:
    for name in "abc":
        await api.create(name, metadata={"labels": {"team": "red" if name == "c" else "blue"}})
    await api.call("DELETE", api.widgets, labelSelector="team=blue")
    assert (await api.call("GET", api.widgets)).names == ["c"]
    await api.call("DELETE", api.widgets)
    assert (await api.call("GET", api.widgets)).names == []


async def test_a_dry_run_changes_nothing(api: RawKube) -> None:
    made = await api.call("POST", api.widgets, widget("a", size=1), dryRun="All")
    assert made.status == 201
    assert made.object["spec"]["colour"] == "Red"
    assert (await api.get("a")).status == 404
    before = await api.create("a")
    assert (await api.merge("a", {"spec": {"size": 9}}, dryRun="All")).object["spec"]["size"] == 9
    assert (await api.delete("a", dryRun="All")).status == 200
    assert (await api.get("a")).object == before
    assert (await api.merge("a", {"spec": {"size": 9}}, dryRun="Some")).status == 422


async def test_a_cluster_scoped_kind_has_no_namespace_and_no_status_path(api: RawKube) -> None:
    name, path = api.namespace, f"{api.gadgets}/{api.namespace}"
    manifest = {"apiVersion": API, "kind": "Gadget", "metadata": {"name": name}, "spec": {"never": "yes"}}
    made = (await api.call("POST", api.gadgets, {**manifest, "status": {"free": 1}})).object
    assert "namespace" not in made["metadata"]
    assert made["status"] == {"free": 1}
    changed = await api.call("PATCH", path, {"status": {"free": 2}}, kind="application/merge-patch+json")
    assert (changed.object["status"], changed.object["metadata"]["generation"]) == ({"free": 2}, 2)
    assert (await api.call("GET", f"{path}/status")).status == 404
    elsewhere = path.replace("/gadgets", f"/namespaces/{name}/gadgets")
    assert (await api.call("GET", elsewhere)).status == 404
    assert name in (await api.call("GET", api.gadgets)).names
    assert (await api.call("DELETE", path)).status == 200
