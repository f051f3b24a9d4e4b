"""Who set which field, and server-side apply."""

from support.rawkube import RawKube, owners

NOTE = "metadata.annotations.note"


def note(text: str) -> dict[str, dict[str, str]]:
    return {"annotations": {"note": text}}


async def test_the_manager_of_an_annotation_is_whoever_set_it_last(api: RawKube) -> None:
    await api.create("a")
    after = (await api.merge("a", {"metadata": note("1")}, fieldManager="kubectl-annotate")).object
    assert owners(after, NOTE) == {("kubectl-annotate", "Update")}
    again = (await api.merge("a", {"metadata": note("1")}, fieldManager="somebody-else")).object
    assert owners(again, NOTE) == {("kubectl-annotate", "Update")}
    after = (await api.merge("a", {"metadata": note("2")}, fieldManager="argocd-controller")).object
    assert owners(after, NOTE) == {("argocd-controller", "Update")}
    gone = (await api.merge("a", {"metadata": {"annotations": {"note": None}}}, fieldManager="third")).object
    assert owners(gone, NOTE) == set()


async def test_without_a_name_the_user_agent_is_the_manager(api: RawKube) -> None:
    await api.create("a")
    path = f"{api.widgets}/a"
    kind = "application/merge-patch+json"
    after = await api.call("PATCH", path, {"metadata": note("1")}, kind=kind, agent="my-tool/2.1 (linux)")
    assert owners(after.object, NOTE) == {("my-tool", "Update")}
    [entry] = [e for e in after.object["metadata"]["managedFields"] if e["manager"] == "my-tool"]
    assert (entry["fieldsType"], entry["apiVersion"]) == ("FieldsV1", "conformance.example.com/v1")
    assert entry["time"].endswith("Z")


async def test_the_creator_owns_what_was_created(api: RawKube) -> None:
    made = await api.create("a", metadata=note("1"), note="x")
    for field in (NOTE, "spec.size", "spec.note", "spec.colour"):
        assert owners(made, field) == {("probe", "Update")}
    assert "f:name" not in made["metadata"]["managedFields"][0]["fieldsV1"].get("f:metadata", {})


async def test_the_status_has_an_owner_of_its_own(api: RawKube) -> None:
    await api.create("a")
    conditions = [{"type": "Ready", "status": "True"}]
    patch = {"status": {"phase": "Up", "conditions": conditions}}
    after = (await api.merge("a", patch, sub="/status", fieldManager="operator")).object
    assert owners(after, "status.phase") == {("operator", "Update")}
    [entry] = [e for e in after["metadata"]["managedFields"] if e["manager"] == "operator"]
    owned = entry["fieldsV1"]["f:status"]["f:conditions"]['k:{"type":"Ready"}']
    assert {"f:type", "f:status"} <= set(owned)
    if api.version >= (1, 22):
        assert entry["subresource"] == "status"


async def test_apply_creates_and_then_merges(api: RawKube) -> None:
    made = await api.apply("a", manager="git", size=1, note="x")
    assert made.status == 201
    assert owners(made.object, "spec.size") == {("git", "Apply")}
    assert owners(made.object, "spec.colour") == set()
    again = await api.apply("a", manager="git", size=1, note="x")
    assert (again.status, again.object) == (200, made.object)
    after = await api.apply("a", manager="git", size=2, note="x")
    assert (after.object["spec"]["size"], after.object["metadata"]["generation"]) == (2, 2)


async def test_what_is_no_longer_applied_is_removed(api: RawKube) -> None:
    await api.apply("a", manager="git", metadata=note("1"), size=1, note="x")
    after = (await api.apply("a", manager="git", size=1)).object
    assert "annotations" not in after["metadata"]
    assert "note" not in after["spec"]
    assert after["spec"]["colour"] == "Red"


async def test_what_others_set_stays(api: RawKube) -> None:
    await api.apply("a", manager="git", metadata=note("1"), size=1)
    await api.merge("a", {"metadata": {"annotations": {"other": "2"}}}, fieldManager="kubectl-annotate")
    after = (await api.apply("a", manager="git", size=1)).object
    assert after["metadata"]["annotations"] == {"other": "2"}
    assert owners(after, "metadata.annotations.other") == {("kubectl-annotate", "Update")}


async def test_two_may_apply_the_same_value(api: RawKube) -> None:
    await api.apply("a", manager="git", metadata=note("1"), size=1)
    both = (await api.apply("a", manager="flux", metadata=note("1"), size=1)).object
    assert owners(both, NOTE) == {("git", "Apply"), ("flux", "Apply")}
    after = (await api.apply("a", manager="git", size=1)).object
    assert after["metadata"]["annotations"] == {"note": "1"}
    after = (await api.apply("a", manager="flux", size=1)).object
    assert "annotations" not in after["metadata"]


async def test_another_value_conflicts_unless_forced(api: RawKube) -> None:
    await api.create("a")
    await api.merge("a", {"metadata": note("1"), "spec": {"size": 5}}, fieldManager="kubectl-annotate")
    answer = await api.apply("a", manager="git", metadata=note("2"), size=6)
    assert answer.refusal == (409, "Conflict")
    assert answer.body["message"].startswith('Apply failed with 2 conflicts: conflicts with "kubectl-annotate"')
    causes = answer.body["details"]["causes"]
    assert {cause["reason"] for cause in causes} == {"FieldManagerConflict"}
    assert {cause["field"] for cause in causes} == {".metadata.annotations.note", ".spec.size"}
    assert (await api.get("a")).object["metadata"]["annotations"] == {"note": "1"}
    after = (await api.apply("a", manager="git", metadata=note("2"), size=6, force=True)).object
    assert after["metadata"]["annotations"] == {"note": "2"}
    assert owners(after, NOTE) == {("git", "Apply")}


async def test_an_update_takes_a_field_from_whoever_applied_it(api: RawKube) -> None:
    await api.apply("a", manager="git", metadata=note("1"), size=1)
    after = (await api.merge("a", {"metadata": note("2")}, fieldManager="kubectl-annotate")).object
    assert owners(after, NOTE) == {("kubectl-annotate", "Update")}
    answer = await api.apply("a", manager="git", metadata=note("1"), size=1)
    assert answer.refusal == (409, "Conflict")


async def test_lists_with_keys_are_merged_item_by_item(api: RawKube) -> None:
    await api.apply("a", manager="git", size=1, ports=[{"name": "web", "port": 1}, {"name": "old", "port": 2}])
    await api.apply("a", manager="other", size=1, ports=[{"name": "mine", "port": 3}])
    after = (await api.apply("a", manager="git", size=1, ports=[{"name": "web", "port": 9}])).object
    assert sorted((port["name"], port["port"]) for port in after["spec"]["ports"]) == [("mine", 3), ("web", 9)]


async def test_finalizers_are_a_set(api: RawKube) -> None:
    await api.apply("a", manager="git", metadata={"finalizers": ["example.com/one"]}, size=1)
    after = (await api.apply("a", manager="other", metadata={"finalizers": ["example.com/two"]}, size=1)).object
    assert sorted(after["metadata"]["finalizers"]) == ["example.com/one", "example.com/two"]
    after = (await api.apply("a", manager="git", size=1)).object
    assert after["metadata"]["finalizers"] == ["example.com/two"]
    await api.merge("a", {"metadata": {"finalizers": None}})


async def test_apply_needs_a_manager_and_checks_what_is_applied(api: RawKube) -> None:
    path, kind = f"{api.widgets}/a", "application/apply-patch+yaml"
    body = {
        "apiVersion": "conformance.example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "a"},
        "spec": {"size": 1},
    }
    assert (await api.call("PATCH", path, body, kind=kind)).status in (400, 422)
    assert (await api.apply("a", manager="git", size=101)).causes == ["spec.size"]
    assert (await api.apply("a", manager="git")).causes == ["spec.size"]
    bare = {"metadata": {"name": "a"}, "spec": {"size": 1}}
    assert (await api.call("PATCH", path, bare, kind=kind, fieldManager="git")).status == 400
    bad = {**body, "metadata": {"name": "a", "managedFields": [{"manager": "x"}]}}
    assert (await api.call("PATCH", path, bad, kind=kind, fieldManager="git")).status == 400


async def test_apply_takes_yaml(api: RawKube) -> None:
    body = b"apiVersion: conformance.example.com/v1\nkind: Widget\nmetadata: {name: a}\nspec: {size: 3}\n"
    kind = "application/apply-patch+yaml"
    made = await api.call("PATCH", f"{api.widgets}/a", body, kind=kind, fieldManager="git")
    assert made.object["spec"]["size"] == 3


async def test_apply_may_be_conditional_and_dry(api: RawKube) -> None:
    made = (await api.apply("a", manager="git", size=1)).object
    stale = {"resourceVersion": "1"}
    assert (await api.apply("a", manager="git", metadata=stale, size=2)).refusal == (409, "Conflict")
    fresh = {"resourceVersion": made["metadata"]["resourceVersion"]}
    assert (await api.apply("a", manager="git", metadata=fresh, size=2)).object["spec"]["size"] == 2
    path, kind = f"{api.widgets}/b", "application/apply-patch+yaml"
    body = {
        "apiVersion": "conformance.example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "b"},
        "spec": {"size": 1},
    }
    assert (await api.call("PATCH", path, body, kind=kind, fieldManager="git", dryRun="All")).status == 201
    assert (await api.get("b")).status == 404
