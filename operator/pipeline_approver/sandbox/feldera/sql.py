"""A tolerant reader of SQL programs: which tables and views exist, their text, and their connectors.

It understands `CREATE [MATERIALIZED|LOCAL] VIEW` and `CREATE TABLE` well enough to compare two programs, and
skips everything else. Names are lower case unless quoted, as in Feldera.
"""

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"""
    (?P<comment>--[^\n]*|/\*.*?\*/)
  | (?P<text>'(?:[^']|'')*')
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<word>[A-Za-z_][A-Za-z0-9_$]*)
  | (?P<end>;)
  | (?P<space>\s+)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_HEAD = re.compile(
    r"""^\s*create\s+(?:or\s+replace\s+)?(?P<kind>materialized\s+view|local\s+view|view|table)\s+
        (?:if\s+not\s+exists\s+)?(?P<name>"(?:[^"]|"")*"|[A-Za-z_][A-Za-z0-9_$]*)""",
    re.IGNORECASE | re.VERBOSE,
)
_CONNECTORS = re.compile(r"""'connectors'\s*=\s*('(?:[^']|'')*')\s*,?""", re.IGNORECASE)
_MATERIALIZED = re.compile(r"""'materialized'\s*=\s*'true'""", re.IGNORECASE)
_COLUMN = re.compile(r"""^\s*(?P<name>"(?:[^"]|"")*"|[A-Za-z_]\w*)\s+(?P<type>[A-Za-z]+)(?P<rest>.*)$""", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """One connector; `name` is `<relation>.<connector>`, `<relation>.unnamed-<position>` for an unnamed one."""

    name: str
    relation: str
    config: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table or a view. `text` is normalised: no comments, no connectors, spaces and case folded."""

    name: str
    quoted: bool
    is_table: bool
    is_local: bool
    materialized: bool
    text: str
    words: frozenset[str]
    columns: tuple[tuple[str, str, bool], ...]
    """Name, SQL type, nullable; only for tables."""
    connectors: tuple[Connector, ...]


@functools.lru_cache(maxsize=4096)
def relations(program: str) -> dict[str, Relation]:
    """The relations of a program by canonical name; statements that it cannot read are left out."""
    found: dict[str, Relation] = {}
    for statement in _statements(program):
        head = _HEAD.match(statement)
        if head is None:
            continue
        relation = _relation(head, statement)
        found[relation.name] = relation
    return found


def connectors(program: str, *, tables: bool) -> dict[str, Connector]:
    """Input connectors (`tables`) or output connectors by full name."""
    return {
        connector.name: connector
        for relation in relations(program).values()
        if relation.is_table is tables
        for connector in relation.connectors
    }


def _statements(program: str) -> list[str]:
    parts: list[str] = []
    current: list[str] = []
    for token in _TOKEN.finditer(program):
        if token.lastgroup == "comment":
            current.append(" ")
        elif token.lastgroup == "end":
            parts.append("".join(current))
            current = []
        else:
            current.append(token.group())
    parts.append("".join(current))
    return [part for part in parts if part.strip()]


def _relation(head: re.Match[str], statement: str) -> Relation:
    kind = " ".join(head["kind"].lower().split())
    name = _canonical(head["name"])
    body = _CONNECTORS.sub("", statement)
    words = []
    text = []
    for token in _TOKEN.finditer(body):
        match token.lastgroup:
            case "word":
                words.append(token.group().lower())
                text.append(token.group().lower())
            case "quoted":
                words.append(_canonical(token.group()))
                text.append(token.group())
            case "space":
                continue
            case _:
                text.append(token.group())
    return Relation(
        name=name,
        quoted=head["name"].startswith('"'),
        is_table=kind == "table",
        is_local=kind == "local view",
        materialized=kind == "materialized view" or _MATERIALIZED.search(statement) is not None,
        text=" ".join(text),
        words=frozenset(words) - {name},
        columns=_columns(statement[head.end() :]) if kind == "table" else (),
        connectors=_connectors(name, statement),
    )


def _canonical(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def _connectors(relation: str, statement: str) -> tuple[Connector, ...]:
    property_ = _CONNECTORS.search(statement)
    if property_ is None:
        return ()
    try:
        configs = json.loads(property_[1][1:-1].replace("''", "'"))
    except ValueError:
        return ()
    if not isinstance(configs, list):
        return ()
    found = []
    for position, config in enumerate(configs):
        if isinstance(config, dict):
            short = config.get("name") or f"unnamed-{position}"
            rest = {key: value for key, value in config.items() if key != "name"}
            found.append(Connector(name=f"{relation}.{short}", relation=relation, config=rest))
    return tuple(found)


def _columns(rest: str) -> tuple[tuple[str, str, bool], ...]:
    columns = []
    for part in _split_parentheses(rest):
        column = _COLUMN.match(part)
        if column is None or column["name"].lower() in {"primary", "foreign", "unique", "constraint"}:
            continue
        nullable = re.search(r"not\s+null|primary\s+key", column["rest"], re.IGNORECASE) is None
        columns.append((_canonical(column["name"]), _sql_type(column["type"]), nullable))
    return tuple(columns)


def _split_parentheses(rest: str) -> list[str]:
    """The comma-separated parts of the first parenthesis."""
    parts: list[str] = []
    current: list[str] = []
    depth = 0
    for token in _TOKEN.finditer(rest):
        piece = token.group()
        if piece == "(":
            depth += 1
            if depth == 1:
                continue
        elif piece == ")":
            depth -= 1
            if depth == 0:
                break
        if depth == 0:
            continue
        if piece == "," and depth == 1:
            parts.append("".join(current))
            current = []
        else:
            current.append(piece)
    parts.append("".join(current))
    return parts


def _sql_type(word: str) -> str:
    upper = word.upper()
    return {"INT": "INTEGER", "STRING": "VARCHAR", "TEXT": "VARCHAR", "NUMERIC": "DECIMAL"}.get(upper, upper)
