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
    """One openAPIV3Schema, compiled."""

    def __init__(self, source: Source) -> None:
        self.source = source
        properties = {key: value for key, value in source.get("properties", {}).items() if key not in _HEAD}
        self._body = {**source, "properties": properties}
        self._check = validation.compile_check(self._body)

    def prepare(self, object_: Object) -> tuple[Object, list[str]]:
        """A copy with defaults and without unknown fields; and the paths of those."""
        unknown: list[str] = []
        head = {key: object_[key] for key in _HEAD if key in object_}
        body = {key: value for key, value in object_.items() if key not in _HEAD}
        return {**head, **_prepare(body, self._body, "", unknown)}, unknown

    def check(self, object_: Object) -> list[Cause]:
        """What is wrong."""
        causes: list[Cause] = []
        self._check({key: value for key, value in object_.items() if key not in _HEAD}, "", causes)
        return causes


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
