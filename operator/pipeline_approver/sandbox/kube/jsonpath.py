"""The dialect of JSONPath that printer columns use: fields, indexes, `[*]` and filters by one comparison."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

Step = Callable[[Any], Iterable[Any]]

_TOKEN = re.compile(
    r"""\.?\[\?\(\s*@\.(?P<field>[^=!\s]+)\s*(?P<operator>==|!=)\s*(?P<wanted>"[^"]*"|'[^']*'|[^)\s]+)\s*\)\]"""
    r"""|\.?\['(?P<quoted>[^']*)'\]"""
    r"""|\.?\[(?P<index>-?\d+|\*)\]"""
    r"""|\.(?P<name>(?:\\.|[^.\[\\])+)"""
)


def compile_path(text: str) -> Callable[[Any], Any]:
    """A function that reads the first value at the path, None when there is none. Raises ValueError."""
    steps: list[Step] = []
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"the JSONPath {text!r} cannot be understood from {text[at:]!r} on")
        steps.append(_step(token))
        at = token.end()

    def read(document: Any) -> Any:
        values = [document]
        for step in steps:
            values = [found for value in values for found in step(value)]
        return values[0] if values else None

    return read


def _step(token: re.Match[str]) -> Step:
    if token["field"] is not None:
        return _filter(token["field"].split("."), token["operator"], _literal(token["wanted"]))
    if token["index"] is not None:
        if token["index"] == "*":
            return lambda value: value if isinstance(value, list) else list(value.values()) if _is_map(value) else ()
        number = int(token["index"])
        return lambda value: [value[number]] if isinstance(value, list) and -len(value) <= number < len(value) else ()
    name = token["quoted"] if token["quoted"] is not None else re.sub(r"\\(.)", r"\1", token["name"])
    return lambda value: [value[name]] if _is_map(value) and name in value else ()


def _filter(path: list[str], operator: str, wanted: Any) -> Step:
    def select(value: Any) -> list[Any]:
        items = value if isinstance(value, list) else ()
        return [item for item in items if (_read(item, path) == wanted) is (operator == "==")]

    return select


def _read(value: Any, path: list[str]) -> Any:
    for part in path:
        value = value.get(part) if _is_map(value) else None
    return value


def _literal(text: str) -> Any:
    if text[0] == "'":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)
