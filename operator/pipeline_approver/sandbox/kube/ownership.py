"""metadata.managedFields: which manager set which field, kept up through updates and server-side apply."""

from dataclasses import dataclass
from typing import Any

from pipeline_approver.sandbox.kube import fields
from pipeline_approver.sandbox.kube.errors import ApiError
from pipeline_approver.sandbox.kube.fields import Fields, Source
from pipeline_approver.sandbox.kube.kinds import Object

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who writes, and through what."""

    manager: str
    subresource: str
    api_version: str
    time: str


def after_update(old: Object | None, new: Object, source: Source | None, author: Author) -> list[Entry]:
    """The entries after a create, update or patch: what it changed is the author's, and nobody else's."""
    schema = fields.owned_schema(source)
    changed, gone = fields.compare(fields.owned_part(old or {}), fields.owned_part(new), schema)
    changed = _without_bare_metadata(changed)
    known = _given_entries(old, new)
    if not changed and not gone:
        return known
    lost = fields.union(changed, gone)
    entries, is_listed = [], False
    for entry in known:
        mine = _is_by(entry, author, "Update")
        left = fields.minus(entry["fieldsV1"], gone if mine else lost)
        if mine:
            is_listed = True
            left = fields.union(left, changed)
            if left != entry["fieldsV1"]:
                entry = {**entry, "time": author.time}
        if left:
            entries.append({**entry, "fieldsV1": left})
    if changed and not is_listed:
        entries.append(_entry(author, "Update", changed))
    return entries


def apply(
    live: Object | None, config: Object, source: Source | None, author: Author, *, force: bool
) -> tuple[Object, list[Entry]]:
    """Server-side apply: the merged object, and the entries after it. Raises 409 for fields of others."""
    schema = fields.owned_schema(source)
    wanted = fields.owned_part(config)
    mine = _without_bare_metadata(fields.collect(wanted, schema, with_containers=False))
    entries = list((live or {}).get("metadata", {}).get("managedFields") or ())
    before = next((entry for entry in entries if _is_by(entry, author, "Apply")), None)
    others = [entry for entry in entries if entry is not before]
    present = fields.owned_part(live or {})
    contested = [path for path in fields.leaves(mine) if _differs(present, wanted, path, schema)]
    conflicts = [(entry, path) for entry in others for path in contested if fields.contains(entry["fieldsV1"], path)]
    if conflicts and not force:
        raise _conflict(conflicts)
    taken = _as_fields(path for _, path in conflicts)
    merged = _overlay(present, wanted, schema)
    if before is not None:
        dropped = fields.minus(before["fieldsV1"], mine)
        for entry in others:
            dropped = fields.minus(dropped, entry["fieldsV1"])
        merged = _drop(merged, dropped, schema)
    metadata = {**((live or config).get("metadata") or {})}
    for key in ("generateName", "labels", "annotations", "finalizers", "ownerReferences"):
        metadata.pop(key, None)
    metadata.update({key: value for key, value in merged.pop("metadata", {}).items() if value})
    if given := (config.get("metadata") or {}).get("resourceVersion"):
        metadata["resourceVersion"] = given
    result = {"apiVersion": config["apiVersion"], "kind": config["kind"], "metadata": metadata, **merged}
    applied = _entry(author, "Apply", mine)
    if before is not None and before["fieldsV1"] == mine:
        applied["time"] = before["time"]
    kept = []
    for entry in entries:
        if entry is before:
            kept.append(applied)
        elif left := fields.minus(entry["fieldsV1"], taken):
            kept.append({**entry, "fieldsV1": left})
    return result, kept if before is not None else [applied, *kept]


def _given_entries(old: Object | None, new: Object) -> list[Entry]:
    """The entries to go on from: those that the request brings, if it changes them, else the object's own."""
    own = list((old or {}).get("metadata", {}).get("managedFields") or ())
    if old is None:
        return []
    given = new["metadata"].get("managedFields")
    if not given or given == own:
        return own
    if given == [{}]:
        return []
    return [entry for entry in given if isinstance(entry, dict) and isinstance(entry.get("fieldsV1"), dict)]


def _is_by(entry: Entry, author: Author, operation: str) -> bool:
    return (entry.get("manager"), entry.get("operation"), entry.get("subresource", ""), entry.get("apiVersion")) == (
        author.manager,
        operation,
        author.subresource,
        author.api_version,
    )


def _entry(author: Author, operation: str, owned: Fields) -> Entry:
    entry: Entry = {
        "apiVersion": author.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned,
        "manager": author.manager,
        "operation": operation,
    }
    if author.subresource:
        entry["subresource"] = author.subresource
    return {**entry, "time": author.time}


def _without_bare_metadata(owned: Fields) -> Fields:
    """Nobody owns metadata as such."""
    below = {name: item for name, item in owned.get("f:metadata", {}).items() if name != "."}
    rest = {name: item for name, item in owned.items() if name not in ("f:metadata", ".")}
    return {"f:metadata": below, **rest} if below else rest


def _differs(present: Any, wanted: Any, path: tuple[str, ...], schema: Source) -> bool:
    """Whether both have a value there, and not the same."""
    for name in path:
        have, want = dict(fields.elements(present, schema)), dict(fields.elements(wanted, schema))
        if name not in have or name not in want:
            return name in want and name not in have
        present, wanted, schema = have[name], want[name], fields.child_of(schema, name)
    return bool(present != wanted)


def _as_fields(paths: Any) -> Fields:
    owned: Fields = {}
    for path in paths:
        place = owned
        for name in path:
            place = place.setdefault(name, {})
    return owned


def _overlay(base: Any, wanted: Any, schema: Source) -> Any:
    """The wanted values over those that are there; lists with keys are merged item by item."""
    if isinstance(base, dict) and isinstance(wanted, dict) and schema.get("x-kubernetes-map-type") != "atomic":
        merged = dict(base)
        for key, item in wanted.items():
            merged[key] = _overlay(base[key], item, fields.child(schema, key)) if key in base else item
        return merged
    if isinstance(base, list) and isinstance(wanted, list) and dict(fields.elements(wanted, schema)):
        items = dict(fields.elements(base, schema))
        for name, item in fields.elements(wanted, schema):
            items[name] = _overlay(items[name], item, fields.child_of(schema, name)) if name in items else item
        return list(items.values())
    return wanted


def _drop(value: Any, dropped: Fields, schema: Source) -> Any:
    """The value without the fields that nobody wants any more; containers that become empty go too."""
    kept = dict(fields.elements(value, schema))
    for name, below in dropped.items():
        if name == "." or name not in kept:
            continue
        is_item = name[0] != "f" and ("." in below or not below)
        left = None if is_item else _drop(kept[name], below, fields.child_of(schema, name))
        if left:
            kept[name] = left
        else:
            del kept[name]
    return list(kept.values()) if isinstance(value, list) else {name[2:]: item for name, item in kept.items()}


def _conflict(conflicts: list[tuple[Entry, tuple[str, ...]]]) -> ApiError:
    by_owner: dict[str, list[str]] = {}
    for entry, path in conflicts:
        through = f' with subresource "{entry["subresource"]}"' if entry.get("subresource") else ""
        owner = f'"{entry.get("manager", "")}"{through} using {entry.get("apiVersion", "")}'
        by_owner.setdefault(owner, []).append(fields.show(path))
    texts = []
    for owner, paths in by_owner.items():
        if len(paths) == 1:
            texts.append(f"conflict with {owner}: {paths[0]}")
        else:
            texts.append(f"conflicts with {owner}:\n" + "\n".join(f"- {path}" for path in paths))
    count = f"{len(conflicts)} conflict{'s' if len(conflicts) > 1 else ''}"
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {owner}", "field": path}
        for owner, paths in by_owner.items()
        for path in paths
    ]
    return ApiError(409, f"Apply failed with {count}: " + "\n".join(texts), details={"causes": causes})
