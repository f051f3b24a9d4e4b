"""The pipelines of the tenant: creating, editing, deleting and listing them, under Feldera's restrictions."""

import re
from collections.abc import Mapping
from typing import Any

from pipeline_approver.sandbox.feldera import compiler, errors
from pipeline_approver.sandbox.feldera.clock import stamp
from pipeline_approver.sandbox.feldera.errors import bad_request
from pipeline_approver.sandbox.feldera.model import SimPipeline
from pipeline_approver.sandbox.feldera.rows import PROGRAM_DEFAULTS, RUNTIME_DEFAULTS, Row
from pipeline_approver.sandbox.feldera.world import World

NAME = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_]*)?[A-Za-z0-9]$")
LONGEST_NAME = 63
_PROGRAM_FIELDS = frozenset({"program_code", "udf_rust", "udf_toml", "program_config"})
_METADATA = frozenset({"description", "tags"})
_EDITABLE = _PROGRAM_FIELDS | _METADATA | {"name", "runtime_config"}


class Catalog:
    """All pipelines of the tenant by name, in order of their creation."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.pipelines: dict[str, SimPipeline] = {}
        self._lists: dict[str, tuple[int, bytes]] = {}

    def get(self, name: str) -> SimPipeline:
        """Raises ApiError 404 UnknownPipelineName."""
        try:
            return self.pipelines[name]
        except KeyError:
            raise errors.unknown_name(name) from None

    def list_json(self, selector: str) -> bytes:
        """The whole list as JSON, by id; kept until any row changes."""
        revision, text = self._lists.get(selector, (-1, b""))
        if revision != self.world.revision:
            text = b"[" + b",".join([p.json(selector) for p in self.pipelines.values()]) + b"]"
            revision = self.world.revision
            self._lists[selector] = (revision, text)
        return text

    # Create, edit, delete.

    def create(self, body: Mapping[str, Any]) -> SimPipeline:
        name = _name(body.get("name"))
        if name in self.pipelines:
            raise errors.ApiError(409, "DuplicateName", "An entity with this name already exists")
        pipeline = self.new(name)
        _assign(pipeline.row, _complete(body))
        compiler.recompile(pipeline)
        return pipeline

    def new(self, name: str) -> SimPipeline:
        """A row and nothing else: neither compiled nor started."""
        now = stamp()
        row = Row(
            id=self.world.ids.new(),
            name=name,
            created_at=now,
            platform_version=self.world.platform_version,
            program_status_since=now,
            resources_since=now,
            resources_desired_since=now,
        )
        pipeline = self.pipelines[name] = SimPipeline(self.world, row)
        self.world.revision += 1
        return pipeline

    def put(self, name: str, body: Mapping[str, Any]) -> tuple[SimPipeline, bool]:
        """Replace or create; whether it was created."""
        if name not in self.pipelines:
            if body.get("name") != name:
                raise bad_request(
                    "CannotRenameNonExistingPipeline",
                    "The pipeline name in the request body does not match the one provided in the URL path.",
                )
            return self.create(body), True
        return self.edit(name, _complete(body) | {"name": body.get("name", name)}), False

    def edit(self, name: str, body: Mapping[str, Any]) -> SimPipeline:
        """Change what `body` names and is not null; raise versions for effective changes only."""
        pipeline = self.get(name)
        row = pipeline.row
        wanted = {key: value for key, value in body.items() if value is not None and key in _EDITABLE}
        for key, defaults in (("program_config", PROGRAM_DEFAULTS), ("runtime_config", RUNTIME_DEFAULTS)):
            if key in wanted:
                wanted[key] = defaults | dict(wanted[key])
        changed = {key for key, value in wanted.items() if getattr(row, key) != value}
        if changed - _METADATA and not resting(row):
            raise bad_request(
                "UpdateRestrictedToStopped",
                "Pipeline can only be updated while stopped. Stop it first by invoking '/stop'.",
            )
        if "name" in changed:
            self._rename(pipeline, _name(wanted["name"]))
        _assign(row, {key: wanted[key] for key in changed})
        if changed & _PROGRAM_FIELDS:
            row.program_version += 1
            row.platform_version = self.world.platform_version
            compiler.recompile(pipeline)
        if changed - _METADATA:
            row.version += 1
        if changed:
            pipeline.touch()
        return pipeline

    def update_runtime(self, name: str) -> SimPipeline:
        """Compile with the platform of today; nothing to do when it already is."""
        pipeline = self.get(name)
        row = pipeline.row
        if row.platform_version == self.world.platform_version:
            return pipeline
        if not resting(row):
            raise bad_request(
                "UpdateRestrictedToStopped",
                "Pipeline can only be updated while stopped. Stop it first by invoking '/stop'.",
            )
        row.platform_version = self.world.platform_version
        row.version += 1
        row.program_version += 1
        compiler.recompile(pipeline)
        return pipeline

    def delete(self, name: str) -> None:
        pipeline = self.get(name)
        if not resting(pipeline.row):
            raise bad_request(
                "DeleteRestrictedToFullyStopped",
                "Cannot delete a pipeline which is not fully stopped."
                " Stop the pipeline first fully by invoking the '/stop' endpoint.",
            )
        if pipeline.row.storage_status != "Cleared":
            raise bad_request(
                "DeleteRestrictedToClearedStorage",
                "Cannot delete pipeline unless its storage is cleared. Clear storage first using `/clear`.",
            )
        self.remove(name)

    def remove(self, name: str) -> None:
        """Let it be gone, in whatever state."""
        pipeline = self.pipelines.pop(name)
        pipeline.deleted = True
        pipeline.close()
        self.world.revision += 1

    def _rename(self, pipeline: SimPipeline, name: str) -> None:
        if name in self.pipelines:
            raise errors.ApiError(409, "DuplicateName", "An entity with this name already exists")
        if pipeline.row.storage_status != "Cleared":
            raise bad_request(
                "EditRestrictedToClearedStorage",
                "The following pipeline fields cannot be edited while storage is not cleared: `name`",
                details={"not_allowed": ["`name`"]},
            )
        old = pipeline.row.name
        self.pipelines = {name if key == old else key: value for key, value in self.pipelines.items()}


def resting(row: Row) -> bool:
    """Stopped, and meant to be: the only time in which a pipeline can be edited, cleared or deleted."""
    return row.resources == "Stopped" and row.resources_desired == "Stopped"


def _name(name: object) -> str:
    text = name if isinstance(name, str) else ""
    if len(text) > LONGEST_NAME:
        raise bad_request(
            "TooLongName",
            f"Name '{text}' is longer ({len(text)}) than maximum allowed ({LONGEST_NAME})",
            details={"name": text, "length": len(text), "maximum": LONGEST_NAME},
        )
    if NAME.match(text) is None:
        raise bad_request(
            "NameDoesNotMatchPattern",
            f"Name '{text}' should be non-empty and match the pattern '{NAME.pattern}'",
            details={"name": text, "pattern": NAME.pattern},
        )
    return text


def _complete(body: Mapping[str, Any]) -> dict[str, Any]:
    """A POST or PUT body with its defaults; other keys are ignored."""
    return {
        "description": body.get("description") or "",
        "tags": body.get("tags") or [],
        "program_code": body.get("program_code") or "",
        "udf_rust": body.get("udf_rust") or "",
        "udf_toml": body.get("udf_toml") or "",
        "program_config": PROGRAM_DEFAULTS | dict(body.get("program_config") or {}),
        "runtime_config": RUNTIME_DEFAULTS | dict(body.get("runtime_config") or {}),
    }


def _assign(row: Row, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        setattr(row, key, value)
