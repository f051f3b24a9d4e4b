"""The rules of Feldera's API server: what may be started, stopped and asked, and when not.

Everything here judges by the row, the observed state, exactly as the API does; only then it touches the real one.
"""

from collections.abc import Mapping
from typing import Any

from pipeline_approver.sandbox.feldera import compiler, diffs, errors
from pipeline_approver.sandbox.feldera.catalog import Catalog, resting
from pipeline_approver.sandbox.feldera.diffs import Program
from pipeline_approver.sandbox.feldera.errors import bad_request
from pipeline_approver.sandbox.feldera.model import SimPipeline
from pipeline_approver.sandbox.feldera.process import NO_CONTROLLER, Process
from pipeline_approver.sandbox.feldera.rows import Row

INITIAL = {"running": "Running", "paused": "Paused", "standby": "Standby"}
POLICIES = frozenset({"allow", "reject", "await_approval"})


class Manager(Catalog):
    """Actions on the pipelines of the catalog; every refusal is an ApiError."""

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
        if not force and pipeline.row.resources == "Provisioned":
            self.reach(name, "/suspend")
        pipeline.stop(force=force)

    def dismiss_error(self, name: str) -> None:
        pipeline = self.get(name)
        if pipeline.row.deployment_error is None:
            return
        if not resting(pipeline.row):
            raise bad_request(
                "DismissErrorRestrictedToFullyStopped",
                "The pipeline must have both status `Stopped` and desired status `Stopped` to dismiss the"
                " `deployment_error` if it is set.",
            )
        pipeline.dismiss_error()

    def clear(self, name: str) -> None:
        pipeline = self.get(name)
        row = pipeline.row
        if not resting(row):
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
