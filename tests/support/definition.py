"""Cases from a definition: for each constraint of each field, a value that just fits and one that just does not."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

WRONG_TYPE = {"string": 7, "integer": "seven", "boolean": "yes", "array": {}, "object": []}
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Case:
    """A resource with one value put in."""

    path: Path
    constraint: str
    resource: dict[str, Any]
    field: str
    """As a refusal names it."""

    def __str__(self) -> str:
        return f"{self.field} {self.constraint}"


def walk(schema: dict[str, Any], resource: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every field of the definition, and where it is in a resource that has them all."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        if name in resource:
            yield from walk(inner, resource[name], (*path, name))
    if "items" in schema:
        seen: set[str] = set()
        for place, item in enumerate(resource):
            # Items with the same keys have the same cases.
            if not (keys := set(re.findall(r"'(\w+)':", str(item)))) <= seen or place == 0:
                yield from walk(schema["items"], item, (*path, place))
                seen |= keys


def cases(schema: dict[str, Any], fullest: dict[str, Any], part: str) -> tuple[list[Case], list[Case]]:
    """What is to be accepted, and what is to be refused, in `spec` or `status`."""
    good, bad = [], []
    known = []
    for path, field in walk(schema["properties"][part], fullest[part], (part,)):
        value = find(fullest, path)
        constraints = {key: inner for key, inner in field.items() if key not in ("description", "properties", "items")}
        if (path[-1], constraints) in known:
            continue
        known.append((path[-1], constraints))
        for constraint, fitting, breaking in values(field, value):
            good += [build(fullest, path, constraint, each) for each in fitting]
            bad.append(build(fullest, path, constraint, breaking))
        for name in field.get("required", []):
            without = {key: inner for key, inner in value.items() if key != name}
            bad.append(build(fullest, path, f"required {name}", without, (*path, name)))
    return good, bad


def values(field: dict[str, Any], value: Any) -> Iterator[tuple[str, list[Any], Any]]:
    """A constraint, values that satisfy it, and one that does not."""
    yield "type", [value], WRONG_TYPE[field["type"]]
    if "enum" in field:
        yield "enum", field["enum"], "Nonsense"
    if "pattern" in field:
        yield "pattern", [], "!" * len(value)
    if "maxLength" in field and "enum" not in field:
        longest = "a" * field["maxLength"]
        fits = "format" not in field and re.search(field.get("pattern", ""), longest)
        yield "maxLength", [longest] if fits else [], longest + "a"
    if "minLength" in field:
        yield "minLength", ["a" * field["minLength"]], ""
    if "minimum" in field:
        yield "minimum", [field["minimum"]], field["minimum"] - 1
    if field.get("format") == "int64":
        yield "int64", [2**63 - 1], 2**63
    if field.get("format") == "date-time":
        yield "date-time", ["2026-11-23T12:00:00.5+01:00"], "yesterday"
    if "maxItems" in field:
        yield "maxItems", [fill(field, value, field["maxItems"])], fill(field, value, field["maxItems"] + 1)


def fill(field: dict[str, Any], value: list[Any], count: int) -> list[Any]:
    """A list of so many items; with keys that differ, where it has keys."""
    items = [copy.deepcopy(value[0]) for _ in range(count)]
    for number, item in enumerate(items):
        for key in field.get("x-kubernetes-list-map-keys", []):
            item[key] = f"Kind{number}"
    return items


def build(fullest: dict[str, Any], path: Path, constraint: str, value: Any, named: Path = ()) -> Case:
    resource = copy.deepcopy(fullest)
    find(resource, path[:-1])[path[-1]] = value
    field = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, named or path)))
    return Case(path, constraint, resource, field)


def find(resource: Any, path: Path) -> Any:
    for step in path:
        resource = resource[step]
    return resource
