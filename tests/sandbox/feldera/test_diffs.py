"""The diff between two programs has Feldera's shape and follows changes downstream."""

from typing import Any

import pytest

from pipeline_approver.sandbox.feldera import diffs, pipeline_diff
from pipeline_approver.sandbox.feldera.diffs import Program


def between(old: str, new: str, *, upgraded: bool = False) -> dict[str, list[str]]:
    """The lists that are not empty."""
    diff = diffs.between(
        Program(code=old, platform_version="1"), Program(code=new, platform_version="2" if upgraded else "1")
    )
    assert diff["program_diff_error"] is None
    flat: dict[str, Any] = {**diff["program_diff"], **{name: diff[name] for name in diffs.CONNECTOR_LISTS}}
    assert all(names == sorted(names) for names in flat.values())
    return {key: names for key, names in flat.items() if names}


T = "CREATE TABLE t (a INT, b VARCHAR DEFAULT 'x;y');"
V = "CREATE VIEW v AS SELECT a FROM t;"
W = "CREATE MATERIALIZED VIEW w AS SELECT a + 1 FROM v;"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (T + V, T + V, {}),
        (T + V, T.lower().replace("'X;Y'", "'x;y'") + " -- new comment\n" + V.replace(" ", "  "), {}),
        (T, T + V + W, {"added_views": ["v", "w"]}),
        (T + V + W, T + V, {"removed_views": ["w"]}),
        (T + V + W, T + V.replace("SELECT a", "SELECT a * 2 AS a") + W, {"modified_views": ["v", "w"]}),
        (T + V, T.replace("a INT", "a BIGINT") + V, {"modified_tables": ["t"], "modified_views": ["v"]}),
        (T, T + 'CREATE TABLE "Quoted; Name" (a INT);', {"added_tables": ["Quoted; Name"]}),
        ("CREATE TABLE Orders (a INT);", "CREATE TABLE ORDERS (a INT);", {}),
        (T + "CREATE TABLE u (a INT);", T, {"removed_tables": ["u"]}),
        (T, "/* CREATE TABLE no (a INT); */" + T, {}),
    ],
)
def test_tables_and_views(old: str, new: str, expected: dict[str, list[str]]) -> None:
    assert between(old, new) == expected


def test_a_local_view_is_not_listed_but_carries_a_change_on() -> None:
    old = T + "CREATE LOCAL VIEW l AS SELECT a FROM t; CREATE VIEW x AS SELECT a FROM l;"
    assert between(old, old.replace("SELECT a FROM t", "SELECT a + 1 AS a FROM t")) == {"modified_views": ["x"]}


def test_another_platform_changes_every_plan_of_a_view() -> None:
    assert between(T + V, T + V, upgraded=True) == {"modified_views": ["v"]}


def table(connectors: str) -> str:
    return f"CREATE TABLE t (a INT) WITH ('connectors' = '{connectors}', 'materialized' = 'true');"


def view(connectors: str) -> str:
    return T + f"CREATE VIEW v WITH ('connectors' = '{connectors}') AS SELECT a FROM t;"


KAFKA = '[{"name": "k", "transport": {"name": "kafka_input", "config": {"topic": "its"}}}]'


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (table("[]"), table(KAFKA), {"added_input_connectors": ["t.k"]}),
        (table(KAFKA), table("[]"), {"removed_input_connectors": ["t.k"]}),
        (table(KAFKA), table(KAFKA.replace("it", "ti")), {"modified_input_connectors": ["t.k"]}),
        (table(KAFKA), table(KAFKA.replace('"name": "k"', '"name": "k", "paused": true, "max_batch_size": 1')), {}),
        (
            table('[{"transport": {"name": "a"}}]'),
            table('[{"transport": {"name": "b"}}, {"transport": {"name": "a"}}]'),
            {"modified_input_connectors": ["t.unnamed-0"], "added_input_connectors": ["t.unnamed-1"]},
        ),
        (table(KAFKA), V, {"removed_tables": ["t"], "added_views": ["v"]}),
        (view("[]"), view('[{"name": "out"}]'), {"added_output_connectors": ["v.out"]}),
        (view('[{"name": "out", "index": "i"}]'), view('[{"name": "out"}]'), {"modified_output_connectors": ["v.out"]}),
        (view('[{"name": "out"}]'), view('[{"name": "out", "paused": true}]'), {}),
        (table("no json"), table(KAFKA), {"added_input_connectors": ["t.k"]}),
    ],
)
def test_connectors(old: str, new: str, expected: dict[str, list[str]]) -> None:
    assert between(old, new) == expected


def test_a_diff_that_could_not_be_computed_is_never_empty() -> None:
    diff = pipeline_diff(error="the checkpoint has no IR")
    assert (diff["program_diff"], diff["program_diff_error"]) == (None, "the checkpoint has no IR")
    assert not diffs.is_empty(diff)
    assert diffs.is_empty(pipeline_diff())
    with pytest.raises(TypeError, match="added_wishes"):
        pipeline_diff(added_wishes=["x"])
