"""Reads what the documentation says, so that tests run that and nothing else.

A block that a test uses has a comment before it that names it:

    <!-- block: one-commit-rollout -->
    ```sh
    …
    ```
"""

import re
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(
    r"^<!-- block: (?P<name>\S+) -->\n```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


def read_blocks(page: str) -> dict[str, str]:
    """The named blocks of a page."""
    text = (DOCS / page).read_text("utf-8")
    found = [(match["name"], match["text"]) for match in _BLOCK.finditer(text)]
    assert len(dict(found)) == len(found), "two blocks have one name"
    assert len(found) == text.count("<!-- block:"), "a comment is not followed by its block"
    return dict(found)


def read_yaml(page: str, name: str) -> Any:
    """A named block that is one YAML document."""
    return yaml.safe_load(read_blocks(page)[name])


def read_table(page: str, *, first_header: str) -> list[list[str]]:
    """The cells of the table whose first column is headed so."""
    lines = iter((DOCS / page).read_text("utf-8").splitlines())
    for line in lines:
        if line.startswith(f"| {first_header} |"):
            break
    else:
        raise AssertionError(f"{page} has no table that begins with {first_header}")
    assert set(next(lines)) <= set("|-: ")
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows
