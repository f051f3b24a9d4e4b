"""Feldera's diff as a value: parsed, bounded, summed up, and identified by a digest.

The digest is what a person approves. It covers the diff, the sources of the program and how outputs are treated,
because names in a diff alone would let two different edits of one view look the same.
"""

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline_approver.core.observation import Program

SHOWN_NAMES = 20
"""Names per list that go into a status; the rest is counted."""
NAME_LENGTH = 128
"""Characters of one name that go into a status."""


class Outputs(enum.StrEnum):
    """What output connectors do while the pipeline bootstraps."""

    EMIT = "Emit"
    SILENT = "Silent"


class Part(enum.StrEnum):
    """One list of names in a diff; the values are the keys in `status.request.change`."""

    ADDED_TABLES = "addedTables"
    REMOVED_TABLES = "removedTables"
    MODIFIED_TABLES = "modifiedTables"
    ADDED_VIEWS = "addedViews"
    REMOVED_VIEWS = "removedViews"
    MODIFIED_VIEWS = "modifiedViews"
    ADDED_INPUT_CONNECTORS = "addedInputConnectors"
    REMOVED_INPUT_CONNECTORS = "removedInputConnectors"
    MODIFIED_INPUT_CONNECTORS = "modifiedInputConnectors"
    ADDED_OUTPUT_CONNECTORS = "addedOutputConnectors"
    REMOVED_OUTPUT_CONNECTORS = "removedOutputConnectors"
    MODIFIED_OUTPUT_CONNECTORS = "modifiedOutputConnectors"


# Feldera's key, and whether it stands inside `program_diff`.
_KEYS: dict[str, tuple[Part, bool]] = {
    f"{verb}_{noun}": (Part[f"{verb}_{noun}".upper()], noun in ("tables", "views"))
    for noun in ("tables", "views", "input_connectors", "output_connectors")
    for verb in ("added", "removed", "modified")
}


@dataclass(frozen=True, slots=True)
class Change:
    """What differs between a pipeline's checkpoint and its new program."""

    parts: Mapping[Part, tuple[str, ...]]
    computed: bool
    """False when Feldera could not compare the programs: anything may have changed."""
    error: str
    """Feldera's `program_diff_error`, or empty."""
    unknown: tuple[str, ...]
    """Keys of the diff that this version does not know or cannot read, sorted."""

    def names(self, part: Part) -> tuple[str, ...]:
        """The sorted names in one list; empty when there are none."""
        return self.parts.get(part, ())


def parse_change(diff: str) -> Change:
    """Read a diff (JSON text of an object). Whatever is not understood is named in `unknown`, never dropped."""
    document = json.loads(diff)
    program = document.get("program_diff") if isinstance(document, dict) else None
    computed = isinstance(program, dict)
    parts: dict[Part, tuple[str, ...]] = {}
    unknown: list[str] = []
    for inside, mapping in ((False, document), (True, program)):
        if not isinstance(mapping, dict):
            continue
        for key, value in mapping.items():
            if not inside and key in ("program_diff", "program_diff_error"):
                continue
            part, belongs_inside = _KEYS.get(key, (None, None))
            if part is None or belongs_inside is not inside or not _is_names(value):
                unknown.append(key)
            elif value:
                parts[part] = tuple(sorted(value))
    error = document.get("program_diff_error") if isinstance(document, dict) else None
    return Change(
        parts=parts,
        computed=computed,
        error=error if isinstance(error, str) else "",
        unknown=tuple(sorted(unknown)),
    )


def digest_change(*, diff: str, program: Program, outputs: Outputs) -> str:
    """`sha256:` and the hex digest that identifies one change, wherever and whenever it is asked for.

    The input is canonical JSON (sorted keys, no white space, UTF-8) of
    `{"v": 1, "diff": …, "program": {"program_code", "udf_rust", "udf_toml": hex SHA-256}, "outputs": "Emit"|"Silent"}`.
    """
    document = {
        "v": 1,
        "diff": _sort_names(json.loads(diff)),
        "program": {
            "program_code": program.program_code,
            "udf_rust": program.udf_rust,
            "udf_toml": program.udf_toml,
        },
        "outputs": outputs.value,
    }
    return "sha256:" + hashlib.sha256(_canonical(document)).hexdigest()


def build_request_id(*, uid: str, pipeline_id: str, deployment_id: str, digest: str) -> str:
    """12 hex digits that name one wait for approval: this resource, this deployment, this change."""
    return hashlib.sha256(_canonical([uid, pipeline_id, deployment_id, digest])).hexdigest()[:12]


def summarise(change: Change) -> str:
    """One line for a column, for example `1 view added, 2 views modified`."""
    if not change.computed:
        return "Feldera could not compute the difference"
    phrases: list[str] = []
    for noun, plural in (
        ("table", "tables"),
        ("view", "views"),
        ("input connector", "input connectors"),
        ("output connector", "output connectors"),
    ):
        for verb in ("added", "removed", "modified"):
            count = len(change.names(Part[f"{verb}_{plural}".replace(" ", "_").upper()]))
            if count:
                phrases.append(f"{count} {noun if count == 1 else plural} {verb}")
    if change.unknown:
        phrases.append(f"{len(change.unknown)} unknown part{'s' if len(change.unknown) > 1 else ''}")
    return ", ".join(phrases) or "no difference named"


def render_change(change: Change) -> dict[str, Any]:
    """The bounded form for `status.request.change`."""
    shown: dict[str, Any] = {}
    omitted = 0
    for part in Part:
        names = change.names(part)
        if names:
            shown[part.value] = [clip(name, NAME_LENGTH) for name in names[:SHOWN_NAMES]]
            omitted += max(0, len(names) - SHOWN_NAMES)
    if omitted:
        shown["omitted"] = omitted
    if change.error:
        shown["error"] = clip(change.error, 512)
    return shown


def clip(text: str, length: int) -> str:
    """At most `length` printable characters of a text that came from outside."""
    cleaned = text[: length + 1]
    if not cleaned.isprintable():
        cleaned = "".join(c if c.isprintable() else " " for c in cleaned)
    return cleaned if len(cleaned) <= length else cleaned[: length - 1] + "…"


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _sort_names(value: Any) -> Any:
    # The lists are sets; a server that gives them in another order still names the same change.
    if isinstance(value, dict):
        return {key: _sort_names(inner) for key, inner in value.items()}
    return sorted(value) if _is_names(value) else value


def _canonical(document: object) -> bytes:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", errors="surrogatepass")
