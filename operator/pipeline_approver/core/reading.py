"""JSON of unknown quality: a value of another type than the expected one counts as absent."""

from collections.abc import Mapping
from typing import Any


def mapping(value: object) -> Mapping[str, Any]:
    """An object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """A list, else an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """A string, else the empty one."""
    return value if isinstance(value, str) else ""


def integer(value: object) -> int | None:
    """An integer, else None; true and false are none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
