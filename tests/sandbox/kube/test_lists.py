"""Lists: selectors, pages, and the forms in which kubectl and informers want them."""

import pytest

from support.rawkube import RawKube

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"


async def test_a_list_says_what_it_is_and_from_when(api: RawKube) -> None:
    await api.create("a")
    body = (await api.call("GET", api.all_widgets)).object
    assert (body["kind"], body["apiVersion"]) == ("WidgetList", "conformance.example.com/v1")
    assert body["metadata"]["resourceVersion"].isdecimal()
    assert any(item["metadata"]["namespace"] == api.namespace for item in body["items"])


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("team=blue", ["a", "b"]),
        ("team==blue,tier=web", ["a"]),
        ("team!=blue", ["c", "d"]),
        ("team in (blue, red)", ["a", "b", "c"]),
        ("team notin (blue)", ["c", "d"]),
        ("tier", ["a"]),
        ("!team", ["d"]),
        ("", ["a", "b", "c", "d"]),
    ],
)
async def test_labels_select(api: RawKube, selector: str, names: list[str]) -> None:
    labels: dict[str, dict[str, str]] = {
        "a": {"team": "blue", "tier": "web"},
        "b": {"team": "blue"},
        "c": {"team": "red"},
        "d": {},
    }
    for name, its in labels.items():
        await api.create(name, metadata={"labels": its})
    assert (await api.call("GET", api.widgets, labelSelector=selector)).names == names


@pytest.mark.parametrize(
    ("selector", "names"),
    [("metadata.name=b", ["b"]), ("metadata.name!=b", ["a"]), ("metadata.namespace=nowhere", [])],
)
async def test_fields_of_the_metadata_select(api: RawKube, selector: str, names: list[str]) -> None:
    for name in "ab":
        await api.create(name)
    assert (await api.call("GET", api.widgets, fieldSelector=selector)).names == names


async def test_selectable_fields_of_a_definition_select(api: RawKube) -> None:
    api.needs((1, 30), "selectable fields")
    for name in "ab":
        await api.create(name)
    await api.merge("b", {"status": {"phase": "Up"}}, sub="/status")
    assert (await api.call("GET", api.widgets, fieldSelector="status.phase=Up")).names == ["b"]
    assert (await api.call("GET", api.widgets, fieldSelector="status.phase=")).names == ["a"]


@pytest.mark.parametrize("query", [{"fieldSelector": "spec.size=1"}, {"labelSelector": "team in blue"}])
async def test_a_selector_that_is_not_understood_is_refused(api: RawKube, query: dict[str, str]) -> None:
    assert (await api.call("GET", api.widgets, **query)).refusal == (400, "BadRequest")


async def test_pages_show_the_state_of_the_first(api: RawKube) -> None:
    for name in "abcde":
        await api.create(name)
    first = await api.call("GET", api.widgets, limit="2")
    assert first.object["metadata"]["remainingItemCount"] == 3
    await api.delete("d")
    await api.create("cc")
    second = await api.call("GET", api.widgets, limit="2", **{"continue": first.object["metadata"]["continue"]})
    third = await api.call("GET", api.widgets, limit="2", **{"continue": second.object["metadata"]["continue"]})
    assert first.names + second.names + third.names == ["a", "b", "c", "d", "e"]
    versions = {page.object["metadata"]["resourceVersion"] for page in (first, second, third)}
    assert len(versions) == 1
    assert not third.object["metadata"].get("continue")


async def test_a_wrong_continuation_is_refused(api: RawKube) -> None:
    assert (await api.call("GET", api.widgets, limit="1", **{"continue": "nonsense"})).status == 400


async def test_a_list_may_hold_only_metadata(api: RawKube) -> None:
    for name in "ab":
        await api.create(name)
    answer = await api.call("GET", api.widgets, accept=PARTIAL, limit="1")
    assert (answer.object["kind"], answer.object["apiVersion"]) == ("PartialObjectMetadataList", "meta.k8s.io/v1")
    [item] = answer.object["items"]
    assert (item["kind"], item["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert set(item) == {"kind", "apiVersion", "metadata"}
    assert answer.object["metadata"]["continue"]


async def test_a_table_has_the_columns_of_the_definition(api: RawKube) -> None:
    await api.create("a", note="words", metadata={"annotations": {"example.com/approve": "yes"}})
    await api.merge(
        "a",
        {
            "status": {
                "phase": "Up",
                "seen": "2001-01-01T00:00:00Z",
                "conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}],
            }
        },
        sub="/status",
    )
    await api.create("b")
    for path in (api.widgets, api.all_widgets):
        table = (await api.call("GET", path, accept=TABLE)).object
        assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
        columns = [(column["name"], column["type"], column["priority"]) for column in table["columnDefinitions"]]
        assert columns == [
            ("Name", "string", 0),
            ("Size", "integer", 0),
            ("Phase", "string", 0),
            ("Ready", "string", 0),
            ("Seen", "date", 0),
            ("Age", "date", 0),
            ("Note", "string", 1),
            ("Approve", "string", 0),
        ]
        rows = [row for row in table["rows"] if row["object"]["metadata"]["namespace"] == api.namespace]
        first, second = (row["cells"] for row in rows)
        assert first[:4] == ["a", 1, "Up", "True"]
        assert first[4].endswith("y")
        assert first[5].endswith("s")
        assert first[6:] == ["words", "yes"]
        assert second[:5] == ["b", 1, None, None, None]
        assert rows[0]["object"]["kind"] == "PartialObjectMetadata"


async def test_a_table_may_hold_one_object_whole(api: RawKube) -> None:
    before = await api.create("a")
    table = (await api.call("GET", f"{api.widgets}/a", accept=TABLE, includeObject="Object")).object
    [row] = table["rows"]
    assert row["object"] == before
    table = (await api.call("GET", f"{api.widgets}/a", accept=TABLE, includeObject="None")).object
    assert "object" not in table["rows"][0] or table["rows"][0]["object"] is None


async def test_a_form_that_nobody_speaks_is_refused(api: RawKube) -> None:
    assert (await api.call("GET", api.widgets, accept="text/html")).status == 406
    assert (await api.call("GET", api.widgets, accept="text/html, */*")).object["kind"] == "WidgetList"
