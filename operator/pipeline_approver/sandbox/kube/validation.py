"""Checks of values against a schema, compiled once, with the wording and the field paths of the API server.

Covered is what structural schemas of CustomResourceDefinitions may contain, with the formats int32, int64, byte,
date-time and (of built-in kinds) micro-time; as in the real server, an unknown format is no restriction.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any

from pipeline_approver.sandbox.kube.errors import Cause, invalid_value, required

Check = Callable[[Any, str, list[Cause]], None]
Source = dict[str, Any]

TYPE_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    dict: "object",
    list: "array",
}
canonical: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode
"""The same text for the same value."""

_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:?\d{2})?")
_MICRO_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}(Z|[+-]\d{2}:\d{2})")
_FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": lambda text: _DATE_TIME.fullmatch(text) is not None,
    "micro-time": lambda text: _MICRO_TIME.fullmatch(text) is not None,
    "byte": lambda text: _is_base64(text),
}
_SHOWN_LENGTH = 200
_RANGES = {"int32": 2**31, "int64": 2**63}


def compile_check(schema: Source) -> Check:
    """A function that appends what is wrong with a value at a path."""
    types = _types(schema)
    is_nullable = bool(schema.get("nullable"))
    expected = schema.get("type", "")
    always = _enum(schema) + _junctions(schema)
    by_type = {
        "string": _text_checks(schema) + always,
        "integer": _number_checks(schema) + always,
        "number": _number_checks(schema) + always,
        "object": _map_checks(schema) + always,
        "array": _list_checks(schema) + always,
        "boolean": always,
        "null": always,
    }

    def check(value: Any, path: str, causes: list[Cause]) -> None:
        found = TYPE_NAMES[type(value)]
        if found in types:
            for one in by_type[found]:
                one(value, path, causes)
        elif value is not None or not is_nullable:
            detail = f'{path} in body must be of type {expected}: "{found}"'
            causes.append(Cause(path or "<nil>", "FieldValueTypeInvalid", f'Invalid value: "{found}": {detail}'))

    return check


def show(value: Any) -> str:
    """A value as messages quote it, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"


def _types(schema: Source) -> frozenset[str]:
    if schema.get("x-kubernetes-int-or-string"):
        return frozenset({"integer", "string"})
    match schema.get("type"):
        case None:
            return frozenset(TYPE_NAMES.values())
        case "number":
            return frozenset({"number", "integer"})
        case single:
            return frozenset({single})


def _enum(schema: Source) -> list[Check]:
    if "enum" not in schema:
        return []
    allowed = schema["enum"]
    supported = ", ".join(json.dumps(value) for value in allowed)

    def check(value: Any, path: str, causes: list[Cause]) -> None:
        if value not in allowed:
            message = f"Unsupported value: {show(value)}: supported values: {supported}"
            causes.append(Cause(path, "FieldValueNotSupported", message))

    return [check]


def _text_checks(schema: Source) -> list[Check]:
    checks: list[Check] = []
    if "maxLength" in schema:
        checks.append(_limit(schema["maxLength"], "FieldValueTooLong", "Too long: may not be more than {} bytes"))
    if "minLength" in schema:
        least = schema["minLength"]
        checks.append(_rule(lambda value: len(value) >= least, "should be at least {} chars long", least))
    if "pattern" in schema:
        pattern = _compile_pattern(schema["pattern"])
        checks.append(_rule(lambda value: pattern.search(value) is not None, "should match '{}'", schema["pattern"]))
    if (form := schema.get("format")) in _FORMATS:
        checks.append(_rule(_FORMATS[form], "must be of type {}", form))
    return checks


def _number_checks(schema: Source) -> list[Check]:
    checks: list[Check] = []
    if "minimum" in schema:
        least, is_open = schema["minimum"], schema.get("exclusiveMinimum", False)
        words = "should be greater than {}" if is_open else "should be greater than or equal to {}"
        checks.append(_rule(lambda value: value > least if is_open else value >= least, words, least))
    if "maximum" in schema:
        most, is_below = schema["maximum"], schema.get("exclusiveMaximum", False)
        words = "should be less than {}" if is_below else "should be less than or equal to {}"
        checks.append(_rule(lambda value: value < most if is_below else value <= most, words, most))
    if (form := schema.get("format")) in _RANGES:
        end = _RANGES[form]
        checks.append(_rule(lambda value: -end <= value < end, "must be of type {}", form))
    return checks


def _compile_pattern(pattern: str) -> re.Pattern[str]:
    """As Go reads it: `$` is the very end, and not before a last line break either."""
    end = r"\\.|\[(?:\\.|[^\]\\])*\]|\$"
    return re.compile(re.sub(end, lambda found: r"\Z" if found[0] == "$" else found[0], pattern))


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _map_checks(schema: Source) -> list[Check]:
    checks: list[Check] = []
    if needed := schema.get("required"):
        checks.append(_required(needed))
    properties = {key: compile_check(value) for key, value in (schema.get("properties") or {}).items()}
    additional = schema.get("additionalProperties")
    rest = compile_check(additional) if isinstance(additional, dict) else None
    if properties or rest:
        checks.append(_properties(properties, rest))
    if "maxProperties" in schema:
        checks.append(_limit(schema["maxProperties"], "FieldValueTooMany", "Too many: must have at most {} items"))
    if "minProperties" in schema:
        least = schema["minProperties"]
        checks.append(_rule(lambda value: len(value) >= least, "should have at least {} properties", least))
    return checks


def _list_checks(schema: Source) -> list[Check]:
    checks: list[Check] = []
    if "maxItems" in schema:
        checks.append(_limit(schema["maxItems"], "FieldValueTooMany", "Too many: must have at most {} items"))
    if "minItems" in schema:
        least = schema["minItems"]
        checks.append(_rule(lambda value: len(value) >= least, "should have at least {} items", least))
    if isinstance(schema.get("items"), dict):
        checks.append(_items(compile_check(schema["items"])))
    if schema.get("x-kubernetes-list-type") in {"set", "map"}:
        checks.append(_distinct(schema.get("x-kubernetes-list-map-keys")))
    return checks


def _junctions(schema: Source) -> list[Check]:
    checks = [compile_check(part) for part in schema.get("allOf", ())]
    for word, wanted in (("anyOf", "at least one schema (anyOf)"), ("oneOf", "one and only one schema (oneOf)")):
        if word in schema:
            checks.append(_junction([compile_check(part) for part in schema[word]], wanted, only_one=word == "oneOf"))
    if "not" in schema:
        checks.append(_negation(compile_check(schema["not"])))
    return checks


def _rule(is_good: Callable[[Any], bool], words: str, shown: object) -> Check:
    text = words.format(shown)

    def check(value: Any, path: str, causes: list[Cause]) -> None:
        if not is_good(value):
            causes.append(invalid_value(path, show(value), f"{path} in body {text}"))

    return check


def _limit(most: int, reason: str, words: str) -> Check:
    def check(value: Any, path: str, causes: list[Cause]) -> None:
        if len(value) > most:
            causes.append(Cause(path, reason, words.format(most)))

    return check


def _required(needed: list[str]) -> Check:
    def check(value: Any, path: str, causes: list[Cause]) -> None:
        for key in needed:
            if key not in value:
                causes.append(required(f"{path}.{key}" if path else key))  # noqa: PERF401 -- rarely so

    return check


def _properties(properties: dict[str, Check], rest: Check | None) -> Check:
    def check(value: Any, path: str, causes: list[Cause]) -> None:
        for key, item in value.items():
            below = properties.get(key, rest)
            if below is not None:
                below(item, f"{path}.{key}" if path else key, causes)

    return check


def _items(below: Check) -> Check:
    def check(value: Any, path: str, causes: list[Cause]) -> None:
        for number, item in enumerate(value):
            below(item, f"{path}[{number}]", causes)

    return check


def _distinct(keys: list[str] | None) -> Check:
    def check(value: Any, path: str, causes: list[Cause]) -> None:
        seen = set()
        for number, item in enumerate(value):
            part = {key: item.get(key) for key in keys} if keys and isinstance(item, dict) else item
            text = canonical(part)
            if text in seen:
                causes.append(Cause(f"{path}[{number}]", "FieldValueDuplicate", f"Duplicate value: {text}"))
            seen.add(text)

    return check


def _junction(parts: list[Check], wanted: str, *, only_one: bool) -> Check:
    def check(value: Any, path: str, causes: list[Cause]) -> None:
        passed = sum(_passes(part, value, path) for part in parts)
        if passed == 0 or (only_one and passed > 1):
            causes.append(invalid_value("<nil>", '""', f'"{path}" must validate {wanted}'))

    return check


def _negation(part: Check) -> Check:
    def check(value: Any, path: str, causes: list[Cause]) -> None:
        if _passes(part, value, path):
            causes.append(invalid_value("<nil>", '""', f'"{path}" must not validate the schema (not)'))

    return check


def _passes(check: Check, value: Any, path: str) -> bool:
    causes: list[Cause] = []
    check(value, path, causes)
    return not causes
