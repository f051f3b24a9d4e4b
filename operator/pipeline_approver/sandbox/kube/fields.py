"""Sets of fields in the form of managedFields' fieldsV1, and the few operations on them.

A set is a nested map whose keys name a field (`f:spec`), the item of a list with keys (`k:{"type":"Ready"}`) or an
item of a set (`v:"name"`); an empty map is a leaf, and `.` stands for the container itself.
"""

import json
from collections.abc import Iterator
from typing import Any

from pipeline_approver.sandbox.kube.kinds import Object
from pipeline_approver.sandbox.kube.validation import canonical

Fields = dict[str, Any]
Source = dict[str, Any]

_ITSELF: Fields = {".": {}}
_STRINGS: Source = {"type": "object", "additionalProperties": {"type": "string"}}
_METADATA: Source = {
    "type": "object",
    "properties": {
        "generateName": {"type": "string"},
        "labels": _STRINGS,
        "annotations": _STRINGS,
        "finalizers": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "ownerReferences": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "items": {"type": "object", "x-kubernetes-map-type": "atomic"},
        },
    },
}


def owned_part(object_: Object) -> Object:
    """The part of an object that somebody can own: neither its identity nor what the server keeps."""
    metadata = object_.get("metadata") or {}
    body = {key: value for key, value in object_.items() if key not in ("apiVersion", "kind", "metadata")}
    kept = {key: value for key, value in metadata.items() if key in _METADATA["properties"] and value is not None}
    return {"metadata": kept, **body}


def owned_schema(source: Source | None) -> Source:
    """The schema of the same part."""
    properties = (source or {}).get("properties") or {}
    return {"type": "object", "properties": {**properties, "metadata": _METADATA}}


def collect(value: Any, schema: Source, *, with_containers: bool) -> Fields:
    """All fields of a value, `.` for its containers if wanted; a leaf has none."""
    if isinstance(value, dict) and not _is_atomic(schema):
        below = {
            f"f:{key}": collect(item, child(schema, key), with_containers=with_containers)
            for key, item in value.items()
        }
    elif isinstance(value, list) and _is_listed(schema):
        items = schema.get("items") or {}
        below = {name: _collect_item(item, items, name) for name, item in list_items(value, schema)}
    else:
        return {}
    return {".": {}, **below} if with_containers and below else below


def _collect_item(item: Any, schema: Source, name: str) -> Fields:
    if name.startswith("v:"):
        return {}
    return {".": {}, **collect(item, schema, with_containers=True)}


def compare(old: Any, new: Any, schema: Source) -> tuple[Fields, Fields]:
    """The fields that were set or changed, and those that are gone."""
    changed: Fields = {}
    gone: Fields = {}
    before, after = dict(elements(old, schema)), dict(elements(new, schema))
    for name, item in after.items():
        below = child_of(schema, name)
        if name not in before:
            changed[name] = (
                _collect_item(item, below, name) if name[0] != "f" else collect(item, below, with_containers=True)
            )
        elif before[name] is not item and before[name] != item:
            if type(before[name]) is type(item) and _is_container(item, below):
                inner, lost = compare(before[name], item, below)
                if not before[name]:
                    inner = {".": {}, **inner}
                if inner or not item:
                    changed[name] = inner
                if lost:
                    gone[name] = lost
            else:
                changed[name] = collect(item, below, with_containers=True)
                if lost := collect(before[name], below, with_containers=True):
                    gone[name] = lost
    for name, item in before.items():
        if name not in after:
            gone[name] = collect(item, child_of(schema, name), with_containers=True)
    return changed, gone


def elements(value: Any, schema: Source) -> Iterator[tuple[str, Any]]:
    """The parts of a container with their names in a set."""
    if isinstance(value, dict) and not _is_atomic(schema):
        yield from ((f"f:{key}", item) for key, item in value.items())
    elif isinstance(value, list) and _is_listed(schema):
        yield from list_items(value, schema)


def list_items(value: list[Any], schema: Source) -> Iterator[tuple[str, Any]]:
    """The items of a set, or of a list with keys."""
    keys = schema.get("x-kubernetes-list-map-keys")
    for item in value:
        if keys and isinstance(item, dict):
            yield f"k:{canonical({key: item[key] for key in keys if key in item})}", item
        else:
            yield f"v:{canonical(item)}", item


def child_of(schema: Source, name: str) -> Source:
    """The schema of a part that a set names."""
    return child(schema, name[2:]) if name.startswith("f:") else schema.get("items") or {}


def child(schema: Source, key: str) -> Source:
    """The schema of a field; empty when there is none."""
    found = (schema.get("properties") or {}).get(key, schema.get("additionalProperties"))
    return found if isinstance(found, dict) else {}


def union(one: Fields, other: Fields) -> Fields:
    merged = dict(one)
    for name, below in other.items():
        merged[name] = union(merged[name], below) if name in merged else below
    return merged


def minus(one: Fields, other: Fields) -> Fields:
    """What is left of one set without the fields of the other. A container is a field apart from what is in it."""
    left = {}
    for name, below in one.items():
        if name not in other:
            left[name] = below
        elif name != "." and (rest := minus(below or _ITSELF, other[name] or _ITSELF)):
            left[name] = {} if rest == _ITSELF else rest
    return left


def leaves(fields: Fields, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all leaves, without containers."""
    for name, below in fields.items():
        if name == ".":
            continue
        if any(key != "." for key in below):
            yield from leaves(below, (*path, name))
        else:
            yield (*path, name)


def contains(fields: Fields, path: tuple[str, ...]) -> bool:
    """Whether a field is in a set."""
    for name in path:
        if name not in fields:
            return False
        fields = fields[name]
    return not fields or "." in fields


def show(path: tuple[str, ...]) -> str:
    """A path as messages name it, for example .metadata.annotations.team or .status.conditions[type="Ready"]."""
    text = ""
    for name in path:
        match name[0], name[2:]:
            case "f", field:
                text += f".{field}"
            case "k", keys:
                text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(keys).items()) + "]"
            case _, value:
                text += f"[={value}]"
    return text


def _is_container(value: Any, schema: Source) -> bool:
    """Whether its parts have owners of their own."""
    return (isinstance(value, dict) and not _is_atomic(schema)) or (isinstance(value, list) and _is_listed(schema))


def _is_atomic(schema: Source) -> bool:
    return schema.get("x-kubernetes-map-type") == "atomic"


def _is_listed(schema: Source) -> bool:
    return schema.get("x-kubernetes-list-type") in {"map", "set"}
