"""The `PipelineDiff` between two programs, as the pipeline computes it before it asks for approval.

"Modified" in Feldera means another plan, not another text. Here the normalised text stands for the plan, and
everything downstream of a modified relation counts as modified too; another platform version changes every plan.
"""

from dataclasses import dataclass
from typing import Any

from pipeline_approver.sandbox.feldera import sql

PROGRAM_LISTS = (
    "added_tables",
    "removed_tables",
    "modified_tables",
    "added_views",
    "removed_views",
    "modified_views",
)
CONNECTOR_LISTS = (
    "added_input_connectors",
    "modified_input_connectors",
    "removed_input_connectors",
    "added_output_connectors",
    "modified_output_connectors",
    "removed_output_connectors",
)
# Flow control of an input connector may change without the connector counting as modified.
_IGNORED_INPUT = frozenset(
    {"paused", "max_batch_size", "max_worker_batch_size", "max_queued_records", "max_queued_bytes"}
)
_IGNORED_OUTPUT = frozenset({"paused"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a binary was compiled from. UDFs are not in it: the diff does not see them."""

    code: str
    platform_version: str


def pipeline_diff(*, error: str | None = None, **lists: list[str]) -> dict[str, Any]:
    """A diff with the named lists filled and the other lists empty.

    With `error` the program part is null, as when Feldera could not compute it.
    Raises TypeError for a list that no diff has.
    """
    if unknown := set(lists) - {*PROGRAM_LISTS, *CONNECTOR_LISTS}:
        raise TypeError(f"a PipelineDiff has no list {', '.join(sorted(unknown))}")
    program = {name: sorted(lists.get(name, [])) for name in PROGRAM_LISTS}
    return {
        "program_diff": None if error is not None else program,
        "program_diff_error": error,
        **{name: sorted(lists.get(name, [])) for name in CONNECTOR_LISTS},
    }


def between(old: Program, new: Program) -> dict[str, Any]:
    """What is different in `new`."""
    before, after = sql.relations(old.code), sql.relations(new.code)
    modified = _modified(before, after, recompiled=old.platform_version != new.platform_version)
    lists: dict[str, list[str]] = {}
    for tables, noun in ((True, "tables"), (False, "views")):
        ours = {name for name, relation in before.items() if relation.is_table is tables and _visible(relation)}
        theirs = {name for name, relation in after.items() if relation.is_table is tables and _visible(relation)}
        lists[f"added_{noun}"] = list(theirs - ours)
        lists[f"removed_{noun}"] = list(ours - theirs)
        lists[f"modified_{noun}"] = list(ours & theirs & modified)
        lists.update(_connectors(old, new, tables=tables, kept=ours & theirs))
    return pipeline_diff(error=None, **lists)


def is_empty(diff: dict[str, Any]) -> bool:
    """Nothing to approve. A diff that could not be computed is never empty."""
    program = diff.get("program_diff")
    if not isinstance(program, dict):
        return False
    return not any(program.values()) and not any(diff.get(name) for name in CONNECTOR_LISTS)


def recomputes(diff: dict[str, Any]) -> bool:
    """Whether approving it shows as Bootstrapping: removals and connector edits alone are over at once."""
    program = diff.get("program_diff")
    if not isinstance(program, dict):
        return True
    return any(program.get(name) for name in ("added_views", "modified_views", "added_tables", "modified_tables"))


def _visible(relation: sql.Relation) -> bool:
    return not relation.is_local


def _modified(before: dict[str, sql.Relation], after: dict[str, sql.Relation], *, recompiled: bool) -> set[str]:
    modified = {
        name
        for name in before.keys() & after.keys()
        if before[name].text != after[name].text or (recompiled and not after[name].is_table)
    }
    # A table that came or went under the same name changes its readers as well.
    changed = modified | (before.keys() ^ after.keys())
    while True:
        downstream = {
            name
            for name, relation in after.items()
            if not relation.is_table and name not in changed and relation.words & changed
        }
        if not downstream:
            return changed & before.keys() & after.keys()
        changed |= downstream


def _connectors(old: Program, new: Program, *, tables: bool, kept: set[str]) -> dict[str, list[str]]:
    noun = "input_connectors" if tables else "output_connectors"
    ignored = _IGNORED_INPUT if tables else _IGNORED_OUTPUT
    before = sql.connectors(old.code, tables=tables)
    after = sql.connectors(new.code, tables=tables)

    def significant(connector: sql.Connector) -> dict[str, Any]:
        return {key: value for key, value in connector.config.items() if key not in ignored}

    return {
        f"added_{noun}": list(after.keys() - before.keys()),
        # Connectors of relations that are gone are not listed.
        f"removed_{noun}": [n for n in before.keys() - after.keys() if before[n].relation in kept],
        f"modified_{noun}": [
            name for name in before.keys() & after.keys() if significant(before[name]) != significant(after[name])
        ],
    }
