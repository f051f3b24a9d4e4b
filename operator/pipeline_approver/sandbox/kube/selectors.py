"""Label and field selectors, compiled to one predicate."""

import re
from collections.abc import Callable
from typing import Any

from pipeline_approver.sandbox.kube.errors import ApiError
from pipeline_approver.sandbox.kube.kinds import Kind, Object

Predicate = Callable[[Object], bool]

_SET = re.compile(r"(\S+)\s+(in|notin)\s*\(([^)]*)\)")
_COMPARISON = re.compile(r"([^=!\s]+)\s*(==|!=|=)\s*(\S*)")
_EXISTS = re.compile(r"(!?)\s*([^=!\s(),]+)")
_ALWAYS_SELECTABLE = frozenset({"metadata.name", "metadata.namespace"})


def parse(kind: Kind, labels: str, fields: str) -> Predicate | None:
    """A predicate for both selectors; None when there are none. Raises 400 for what cannot be understood."""
    tests = [_label_test(part.strip()) for part in re.split(r",(?![^(]*\))", labels) if part.strip()]
    tests += [_field_test(kind, part.strip()) for part in fields.split(",") if part.strip()]
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda object_: all(test(object_) for test in tests)


def _label_test(part: str) -> Predicate:
    if found := _SET.fullmatch(part):
        key, wanted = found[1], {value.strip() for value in found[3].split(",")}
        if found[2] == "in":
            return lambda object_: _labels(object_).get(key) in wanted
        return lambda object_: _labels(object_).get(key) not in wanted
    if found := _COMPARISON.fullmatch(part):
        key, operator, value = found.groups()
        if operator == "!=":
            return lambda object_: _labels(object_).get(key) != value
        return lambda object_: _labels(object_).get(key) == value
    if found := _EXISTS.fullmatch(part):
        key, is_absent = found[2], bool(found[1])
        return lambda object_: (key in _labels(object_)) is not is_absent
    raise ApiError(400, f'unable to parse requirement: found "{part}"')


def _field_test(kind: Kind, part: str) -> Predicate:
    found = _COMPARISON.fullmatch(part)
    if found is None:
        raise ApiError(400, f"invalid selector: '{part}'; can't understand '{part}'")
    field, operator, value = found.groups()
    if field not in _ALWAYS_SELECTABLE and field not in kind.selectable:
        raise ApiError(400, f"field label not supported: {field}")
    path = field.split(".")
    if operator == "!=":
        return lambda object_: _read(object_, path) != value
    return lambda object_: _read(object_, path) == value


def _labels(object_: Object) -> dict[str, str]:
    labels: dict[str, str] = object_["metadata"].get("labels") or {}
    return labels


def _read(object_: Object, path: list[str]) -> str:
    value: Any = object_
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
