"""The rules of Feldera's API server: what may be created, edited, started, stopped and asked, and when not.

Everything here judges by the row, the observed state, exactly as the API does; only then it touches the real one.
"""

import re
from collections.abc import Mapping
from typing import Any

from pipeline_approver.sandbox.feldera import compiler, diffs, errors
from pipeline_approver.sandbox.feldera.clock import stamp
from pipeline_approver.sandbox.feldera.diffs import Program
from pipeline_approver.sandbox.feldera.errors import bad_request
from pipeline_approver.sandbox.feldera.model import SimPipeline
from pipeline_approver.sandbox.feldera.process import NO_CONTROLLER, Process
from pipeline_approver.sandbox.feldera.rows import PROGRAM_DEFAULTS, RUNTIME_DEFAULTS, Row
from pipeline_approver.sandbox.feldera.world import World

NAME = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_]*)?[A-Za-z0-9]$")
LONGEST_NAME = 63
INITIAL = {"running": "Running", "paused": "Paused", "standby": "Standby"}
POLICIES = frozenset({"allow", "reject", "await_approval"})
_PROGRAM_FIELDS = frozenset({"program_code", "udf_rust", "udf_toml", "program_config"})
_METADATA = frozenset({"description", "tags"})
_EDITABLE = _PROGRAM_FIELDS | _METADATA | {"name", "runtime_config"}


class Manager:
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
        if changed - _METADATA and not _resting(row):
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
        if not _resting(row):
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
        if not _resting(pipeline.row):
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

    # Interaction with the process.

    def reach(self, name: str, path: str) -> tuple[SimPipeline, Process]:
        """The process behind a pipeline, when the observed state says that there is one, and there is one."""
        pipeline = self.get(name)
        row = pipeline.row
        if row.resources != "Provisioned":
            raise errors.not_deployed(name, status=row.resources, desired=row.resources_desired)
        if row.runtime == "Unavailable":
            raise errors.unavailable(name, path)
        if pipeline.process is None:
            raise errors.unreachable(name, path)
        return pipeline, pipeline.process

    def approve(self, name: str, *, silent: bool, concurrent: bool) -> int | None:
        """A checkpoint number in the documented style. It checks nothing but that there is a process."""
        if silent and concurrent:
            raise errors.invalid_bootstrap()
        pipeline, _ = self.reach(name, "/approve")
        return pipeline.approve(silent=silent, concurrent=concurrent)

    def checkpoint(self, name: str) -> dict[str, Any]:
        if not self.world.enterprise:
            raise errors.enterprise_only("checkpoint")
        pipeline, process = self.reach(name, "/checkpoint")
        if process.phase in NO_CONTROLLER:
            raise errors.initializing()
        answer: dict[str, Any] = {"checkpoint_sequence_number": pipeline.take_checkpoint()}
        if self.world.report_incarnation:
            answer["incarnation_uuid"] = process.incarnation
        return answer

    def checkpoint_status(self, name: str, incarnation: str | None) -> dict[str, Any]:
        _, process = self.reach(name, "/checkpoint_status")
        if incarnation is not None and incarnation != process.incarnation:
            raise bad_request(
                "IncarnationUuidMismatch",
                f"The pipeline's incarnation is {process.incarnation}, not {incarnation}: it has restarted.",
                details={"expected": incarnation, "actual": process.incarnation},
            )
        return process.checkpoint_status()

    def diff(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Between the configured program, not the checkpoint, and a proposed one."""
        row = self.get(name).row
        if row.program_status != "Success":
            raise errors.ApiError(404, "ProgramNotCompiled", "The current program is not compiled")
        code = body.get("program_code")
        proposed = row.program_code if code is None else str(code)
        if compiler.syntax_error(proposed) is not None:
            raise bad_request("InvalidNewProgramSql", "The new program failed to compile")
        version = str(body.get("runtime_version") or row.platform_version)
        old = Program(code=row.program_code, platform_version=row.platform_version)
        return diffs.between(old, Program(code=proposed, platform_version=version))

    # Start, stop, clear.

    def start(
        self, name: str, *, initial: str, policy: str, silent: bool, concurrent: bool, dismiss_error: bool
    ) -> None:
        if silent and concurrent:
            raise errors.invalid_bootstrap()
        pipeline = self.get(name)
        row = pipeline.row
        if row.resources_desired == "Provisioned":
            self._same_start(row, initial=initial, bootstrap=(policy, silent, concurrent))
            return
        if row.resources != "Stopped":
            raise errors.illegal_action(
                status=row.resources,
                current=row.resources_desired,
                new="Provisioned",
                hint="Cannot restart the pipeline while it is stopping."
                " Wait for it to stop before starting a new instance of the pipeline.",
            )
        if row.storage_status == "Clearing":
            raise bad_request(
                "CannotStartWhileClearingStorage",
                "Cannot process `/start` if the `storage_status` is `Clearing`.",
            )
        if row.program_status in compiler.FAILED:
            raise bad_request(
                "StartFailedDueToFailedCompilation",
                "Not possible to start the pipeline because the program failed to compile",
            )
        if row.deployment_error is not None and not dismiss_error:
            raise bad_request(
                "CannotStartWithUndismissedError",
                "Cannot process `/start?dismiss_error=false` if the `deployment_error` is set.",
            )
        pipeline.dismiss_error()
        pipeline.start(initial=initial, policy=policy, silent=silent, concurrent=concurrent)

    def _same_start(self, row: Row, *, initial: str, bootstrap: tuple[str, bool, bool]) -> None:
        if initial != row.initial:
            raise bad_request(
                "InitialImmutableUnlessStopped",
                "Initial desired runtime status cannot be changed unless the pipeline is desired to become Stopped.",
            )
        if bootstrap != (row.bootstrap_policy, row.silent_bootstrap, row.concurrent_bootstrap):
            raise bad_request(
                "BootstrapPolicyImmutableUnlessStopped",
                "Bootstrap policy cannot be changed unless the pipeline is desired to become Stopped.",
            )

    def stop(self, name: str, *, force: bool) -> None:
        pipeline = self.get(name)
        if not force and not self.world.enterprise:
            raise errors.enterprise_only("stop without force")
        pipeline.stop(force=force)

    def dismiss_error(self, name: str) -> None:
        pipeline = self.get(name)
        if pipeline.row.deployment_error is None:
            return
        if not _resting(pipeline.row):
            raise bad_request(
                "DismissErrorRestrictedToFullyStopped",
                "The pipeline must have both status `Stopped` and desired status `Stopped` to dismiss the"
                " `deployment_error` if it is set.",
            )
        pipeline.dismiss_error()

    def clear(self, name: str) -> None:
        pipeline = self.get(name)
        row = pipeline.row
        if not _resting(row):
            raise bad_request(
                "StorageStatusImmutableUnlessStopped",
                f"Cannot transition storage status from '{row.storage_status}' to 'Clearing' with resources status"
                f" '{row.resources}' and desired status '{row.resources_desired}'."
                " Storage status cannot be changed unless the pipeline is fully stopped.",
            )
        if row.storage_status == "Cleared":
            raise bad_request(
                "InvalidStorageStatusTransition",
                "Cannot transition from storage status 'cleared' to 'clearing'",
                details={"current_status": "Cleared", "new_status": "Clearing"},
            )
        if row.storage_status == "InUse":
            pipeline.clear()


def _resting(row: Row) -> bool:
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
