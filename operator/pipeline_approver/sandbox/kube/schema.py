"""The structural schema of a kind: unknown fields are pruned, defaults filled in, the rest is checked.

CEL rules (x-kubernetes-validations) are not evaluated: only a real kube-apiserver proves those.
"""

import copy
from typing import Any

from pipeline_approver.sandbox.kube import validation
from pipeline_approver.sandbox.kube.errors import Cause
from pipeline_approver.sandbox.kube.kinds import Object

Source = dict[str, Any]
_HEAD = ("apiVersion", "kind", "metadata")
_ANYTHING = "x-kubernetes-preserve-unknown-fields"


class Schema:
    """One openAPIV3Schema, compiled.

    Parts that are the very same in the `known` object have been through this before and are left alone.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        properties = {key: value for key, value in source.get("properties", {}).items() if key not in _HEAD}
        self._body = {**source, "properties": properties}
        self._checks = {key: validation.compile_check(value) for key, value in properties.items()}
        self._check = validation.compile_check({**source, "properties": {}})

    def prepare(self, object_: Object, known: Object | None) -> tuple[Object, list[str]]:
        """A copy with defaults and without unknown fields; and the paths of those."""
        unknown: list[str] = []
        kept = _head_and_known(object_, known)
        body = {key: value for key, value in object_.items() if key not in kept}
        return {**_prepare_map(body, self._body, "", unknown), **kept}, unknown

    def check(self, object_: Object, known: Object | None) -> list[Cause]:
        """What is wrong."""
        causes: list[Cause] = []
        kept = _head_and_known(object_, known)
        self._check({key: value for key, value in object_.items() if key not in _HEAD}, "", causes)
        for key, value in object_.items():
            if key not in kept and key in self._checks:
                self._checks[key](value, key, causes)
        return causes


def _head_and_known(object_: Object, known: Object | None) -> Object:
    known = known or {}
    return {key: value for key, value in object_.items() if key in _HEAD or (key in known and known[key] is value)}


def _prepare(value: Any, schema: Source, path: str, unknown: list[str]) -> Any:
    if isinstance(value, dict):
        return _prepare_map(value, schema, path, unknown)
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        return [_prepare(item, items, f"{path}[{number}]", unknown) for number, item in enumerate(value)]
    return value


def _prepare_map(value: dict[str, Any], schema: Source, path: str, unknown: list[str]) -> dict[str, Any]:
    properties: dict[str, Source] = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    keeps = additional is True or bool(schema.get(_ANYTHING))
    embedded = _HEAD if schema.get("x-kubernetes-embedded-resource") else ()
    prepared: dict[str, Any] = {}
    for key, item in value.items():
        below = f"{path}.{key}" if path else key
        known = properties.get(key) or (additional if isinstance(additional, dict) else None)
        if known is None:
            if keeps or key in embedded:
                prepared[key] = item
            else:
                unknown.append(below)
        elif item is not None or known.get("nullable"):
            # Nulls that a field does not allow count as absent.
            prepared[key] = _prepare(item, known, below, unknown)
    for key, known in properties.items():
        if "default" in known and key not in prepared:
            default = copy.deepcopy(known["default"])
            prepared[key] = _prepare(default, known, f"{path}.{key}" if path else key, unknown)
    return prepared
