"""The forms in which objects are sent: as they are, as rows of a table, or only their metadata."""

import enum
from collections.abc import Iterable
from typing import Any

from pipeline_approver.sandbox.kube.errors import ApiError
from pipeline_approver.sandbox.kube.kinds import Kind, Object
from pipeline_approver.sandbox.kube.store import Entry, dump

META = "meta.k8s.io/v1"


class Form(enum.Enum):
    """One of them."""

    WHOLE = "whole"
    TABLE = "table"
    PARTIAL = "partial"


def choose_form(accept: str) -> Form:
    """The first form in an Accept header that this server can send; raises 406."""
    for part in accept.split(",") if accept else ["application/json"]:
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        if kind not in ("application/json", "application/*", "*/*"):
            continue
        chosen = next((p.removeprefix("as=") for p in parameters if p.startswith("as=")), "")
        if not chosen:
            return Form.WHOLE
        if "v=v1" not in parameters:
            continue
        if chosen == "Table":
            return Form.TABLE
        if chosen in ("PartialObjectMetadata", "PartialObjectMetadataList"):
            return Form.PARTIAL
    raise ApiError(406, "only the following media types are accepted: application/json")


class View:
    """How one request wants its objects."""

    def __init__(self, kind: Kind, form: Form, include: str = "Metadata") -> None:
        self._kind = kind
        self._form = form
        self._include = include or "Metadata"
        self._is_first = True

    def render(self, entry: Entry) -> bytes:
        """One object."""
        match self._form:
            case Form.WHOLE:
                return entry.raw
            case Form.PARTIAL:
                return dump(partial(entry.object))
            case Form.TABLE:
                version = entry.object["metadata"].get("resourceVersion", "")
                return dump(self._table([entry.object], {"resourceVersion": version}, with_columns=True))

    def render_list(self, entries: Iterable[Entry], metadata: dict[str, Any]) -> bytes:
        """A list."""
        kind = self._kind
        match self._form:
            case Form.TABLE:
                return dump(self._table([entry.object for entry in entries], metadata, with_columns=True))
            case Form.PARTIAL:
                items = [dump(partial(entry.object)) for entry in entries]
                name, version = "PartialObjectMetadataList", META
            case Form.WHOLE:
                items = [entry.raw for entry in entries]
                name, version = f"{kind.kind}List", kind.api_version
        head = dump({"kind": name, "apiVersion": version, "metadata": metadata})
        return head[:-1] + b',"items":[' + b",".join(items) + b"]}"

    def render_event(self, type_: str, entry: Entry) -> bytes:
        """One event of a watch."""
        match self._form:
            case Form.WHOLE:
                body = entry.raw
            case Form.PARTIAL:
                body = dump(partial(entry.object))
            case Form.TABLE:
                version = entry.object["metadata"]["resourceVersion"]
                table = self._table([entry.object], {"resourceVersion": version}, with_columns=self._is_first)
                body = dump(table)
                self._is_first = False
        return b'{"type":"%s","object":%s}\n' % (type_.encode(), body)

    def render_bookmark(self, revision: int, *, ends_initial_events: bool = False) -> bytes:
        """A sign of life with a resourceVersion to go on from."""
        metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
        if ends_initial_events:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        match self._form:
            case Form.TABLE:
                body: Object = self._table([], {"resourceVersion": str(revision)}, with_columns=False)
                if ends_initial_events:
                    row = {"cells": [], "object": {**_partial_head(), "metadata": metadata}}
                    body = {**body, "rows": [row]}
            case Form.PARTIAL:
                body = {**_partial_head(), "metadata": metadata}
            case Form.WHOLE:
                body = {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": metadata}
        return dump({"type": "BOOKMARK", "object": body}) + b"\n"

    def _table(self, objects: list[Object], metadata: dict[str, Any], *, with_columns: bool) -> Object:
        definitions = [
            {
                "name": column.name,
                "type": column.type,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            }
            for column in self._kind.columns
        ]
        return {
            "kind": "Table",
            "apiVersion": META,
            "metadata": metadata,
            "columnDefinitions": definitions if with_columns else [],
            "rows": [self._row(object_) for object_ in objects],
        }

    def _row(self, object_: Object) -> Object:
        row: Object = {"cells": [column.read(object_) for column in self._kind.columns]}
        match self._include:
            case "Object":
                row["object"] = object_
            case "Metadata":
                row["object"] = partial(object_)
        return row


def partial(object_: Object) -> Object:
    """Only the metadata of an object."""
    return {**_partial_head(), "metadata": object_["metadata"]}


def _partial_head() -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": META}
