"""A pipeline as the API sees it: the observed copy that GET serves, and the handles for tests.

The runner copies the real state into the row with a lag; it can be frozen, or made to say something else.
"""

import json
import time
from typing import Any

from pipeline_approver.sandbox.feldera import rows
from pipeline_approver.sandbox.feldera.clock import stamp
from pipeline_approver.sandbox.feldera.life import Life
from pipeline_approver.sandbox.feldera.records import ApprovalRecord, StopRecord
from pipeline_approver.sandbox.feldera.rows import Row
from pipeline_approver.sandbox.feldera.world import World

NEVER_AT_REST = frozenset({"Provisioning", "Stopping"})
REMEMBERED_PHASES = 50
RESOURCES = NEVER_AT_REST | {"Stopped"}


class SimPipeline(Life):
    """One simulated pipeline. All methods must be called on the server's event loop."""

    def __init__(self, world: World, row: Row) -> None:
        super().__init__(world, row)
        self.phases: list[str] = []
        """The last phases that there really were, seen by GET or not."""
        self.frozen = False
        self.deleted = False
        self._arguments_hidden: tuple[str | None, str | None, bool, bool] | None = None
        self._swap: tuple[dict[str, Any] | None, str] | None = None
        self._observe_timer: int | None = None
        self._json: dict[str, bytes] = {}

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def name(self) -> str:
        return self.row.name

    def close(self) -> None:
        super().close()
        self.world.timers.cancel(self._observe_timer)
        self._observe_timer = None

    # What GET serves.

    def json(self, selector: str) -> bytes:
        """The row as JSON for one selector; kept until the row changes."""
        text = self._json.get(selector)
        if text is None:
            build = {
                "status": rows.status_object,
                "status_with_connectors": rows.connectors_object,
            }.get(selector, rows.all_object)
            text = json.dumps(build(self.row), separators=(",", ":")).encode()
            self._json[selector] = text
        return text

    def touch(self) -> None:
        """The row changed: count it, and forget its JSON."""
        self.row.refresh_version += 1
        self._json.clear()
        self.world.revision += 1

    def observe_soon(self) -> None:
        if self.phases[-1:] != [self.phase]:
            self.phases = [*self.phases, self.phase][-REMEMBERED_PHASES:]
        if self.world.lag_seconds <= 0:
            self.observe()
        elif self._observe_timer is None:
            self._observe_timer = self.world.timers.after(self.world.lag_seconds, self.observe)

    def observe(self) -> None:
        """Copy the real state into the row, unless observation is frozen."""
        self.world.timers.cancel(self._observe_timer)
        self._observe_timer = None
        if self.frozen:
            return
        runtime = self.phase if self.resources == "Provisioned" else None
        desired = self.process.desired if self.process is not None else self.row.runtime_desired
        self._see(resources=self.resources, runtime=runtime, details=self._details(), desired=desired)
        self.row.deployment_id = self.deployment_id
        self.row.deployment_error = self.error
        if self.checkpoints:
            self.row.storage_details = {"checkpoints": self.checkpoints}
        self.touch()

    def _see(self, *, resources: str, runtime: str | None, details: Any, desired: str | None) -> None:
        row, now = self.row, stamp()
        if resources in {"Stopping", "Stopped"} and row.resources in {"Provisioning", "Provisioned"}:
            row.initial = row.bootstrap_policy = None
            row.silent_bootstrap = row.concurrent_bootstrap = False
        if row.resources != resources:
            row.resources, row.resources_since = resources, now
        if resources != "Provisioned":
            row.runtime = row.runtime_since = row.runtime_details = None
            row.runtime_desired = row.runtime_desired_since = None
            return
        if row.runtime != runtime:
            row.runtime, row.runtime_since = runtime, now
        desired = desired or row.initial or "Running"
        if row.runtime_desired != desired:
            row.runtime_desired, row.runtime_desired_since = desired, now
        row.runtime_details = details

    def _details(self) -> Any:
        process = self.process
        old = self.world.details_shape == "old"
        if process is None:
            reason = "Error sending HTTP request to pipeline: Failed to connect to host"
            return reason if old else {"reason": reason}
        if process.phase == "AwaitingApproval":
            return process.diff if old else {"approval_diff": process.diff}
        if old:
            return ""
        return {"connector_stats": {"num_errors": 0}} if process.at_work else {}

    # What users do through the API. The caller has checked that they may.

    def approve(self, *, silent: bool, concurrent: bool) -> int | None:
        """Let the process know; the answer is a checkpoint number in the documented style, else None."""
        if self._swap is not None:
            self._swap_now()
        process = self._alive()
        self.world.approvals.append(
            ApprovalRecord(
                name=self.name,
                pipeline_id=self.id,
                deployment_id=process.deployment_id,
                phase=process.phase,
                silent=silent,
                concurrent=concurrent,
                effective=process.phase == "AwaitingApproval",
                at=time.time(),
            )
        )
        self.grant(silent=silent)
        if self.world.approve_style != "documented" or not self.world.enterprise:
            return None
        return process.waiting[-1] if process.waiting else self.take_checkpoint()

    def start(self, *, initial: str, policy: str, silent: bool, concurrent: bool) -> None:
        row = self.row
        row.resources_desired, row.resources_desired_since = "Provisioned", stamp()
        row.initial, row.bootstrap_policy = initial, policy
        row.silent_bootstrap, row.concurrent_bootstrap = silent, concurrent
        self.touch()
        self.react_soon()

    def stop(self, *, force: bool) -> None:
        """Take the resources away; without `force` a process may write a checkpoint first."""
        self.world.stops.append(
            StopRecord(
                name=self.name,
                pipeline_id=self.id,
                deployment_id=self.deployment_id,
                phase=self.phase,
                force=force,
                at=time.time(),
            )
        )
        if not force and self.process is not None:
            self.desire("Suspended")
            return
        if self.row.resources_desired != "Stopped":
            self.row.resources_desired, self.row.resources_desired_since = "Stopped", stamp()
            self.touch()
        self.react_soon()

    def dismiss_error(self) -> None:
        self.error = self.row.deployment_error = None
        self.touch()

    def refuse_start(self) -> None:
        """The program did not compile; an early start ends here."""
        if self.row.resources_desired == "Provisioned":
            self.row.resources_desired, self.row.resources_desired_since = "Stopped", stamp()
            self.row.initial = self.row.bootstrap_policy = None
            self.row.silent_bootstrap = self.row.concurrent_bootstrap = False
            self.error = {
                "message": "Not possible to start the pipeline because the program failed to compile",
                "error_code": "StartFailedDueToFailedCompilation",
                "details": {"compiler_error": self.row.program_error},
            }
            self.observe_soon()

    def clear(self) -> None:
        self.row.storage_status = "Clearing"
        self.touch()
        self._next(self._cleared)

    def _cleared(self) -> None:
        self.checkpoints, self.baseline, self.change = [], None, None
        self.row.storage_status, self.row.storage_details = "Cleared", None
        self.touch()

    # What tests do.

    def await_approval(self, diff: dict[str, Any], *, silent: bool = False, concurrent: bool = False) -> str:
        """Be in a fresh deployment that waits for approval of `diff`, observed at once; the deployment id."""
        self.close()
        row, now = self.row, stamp()
        row.resources_desired, row.resources_desired_since = "Provisioned", now
        row.initial, row.bootstrap_policy = "Running", "await_approval"
        row.silent_bootstrap, row.concurrent_bootstrap = silent, concurrent
        row.storage_status, row.program_status = "InUse", "Success"
        if self.baseline is None:
            self.make_durable()
        self.change, self.error = diff, None
        self.resources, self.deployment_id = "Provisioned", self.world.ids.new()
        process = self.new_process()
        process.diff, process.phase = diff, "AwaitingApproval"
        self.store_policy()
        self.observe()
        return self.deployment_id

    def settle(self, phase: str) -> None:
        """Be at rest in a phase of the process, or Stopped, observed at once; `initialized` or `run` let it go on."""
        self.close()
        row, now = self.row, stamp()
        if phase == "Stopped":
            row.resources_desired, row.resources_desired_since = "Stopped", now
            self.process, self.resources, self.deployment_id = None, "Stopped", None
        else:
            row.resources_desired, row.resources_desired_since = "Provisioned", now
            row.initial = phase if phase in {"Paused", "Standby"} else "Running"
            row.bootstrap_policy = "await_approval"
            row.storage_status, row.program_status = "InUse", "Success"
            self.resources, self.deployment_id = "Provisioned", self.world.ids.new()
            self.new_process().phase = phase
            self.store_policy()
        self.observe()

    def crash_process(self, *, keep_policy: bool = True) -> None:
        """See `Life.crash`."""
        self.crash(keep_policy=keep_policy)

    def set_observed(self, status: str, *, reason: str = "the pipeline did not answer") -> None:
        """Make GET say something else until `thaw`: a flap to Unavailable, a status nobody knows, Stopped."""
        self.frozen = True
        if status in RESOURCES:
            arguments = self._start_arguments()
            self._see(resources=status, runtime=None, details=None, desired=None)
            self._arguments_hidden = self._arguments_hidden or arguments
            if status == "Stopped":
                self.row.deployment_id = None
        else:
            details = reason if self.world.details_shape == "old" else {"reason": reason}
            desired = self.row.runtime_desired
            self._see(resources="Provisioned", runtime=status, details=details, desired=desired)
        self.touch()

    def freeze_observation(self) -> None:
        """GET stays as it is, whatever happens, until `thaw`."""
        self.frozen = True

    def thaw(self) -> None:
        """Observe again, at once."""
        self.frozen = False
        if self._arguments_hidden is not None and self.resources != "Stopped":
            row = self.row
            row.initial, row.bootstrap_policy, row.silent_bootstrap, row.concurrent_bootstrap = self._arguments_hidden
        self._arguments_hidden = None
        self.observe()

    def fail_after_approval(self, message: str) -> None:
        """The next approved bootstrap dies with `deployment_error` InitializationError."""
        self.failure_after_approval = message

    def fail_next_checkpoint(self, message: str) -> None:
        """The next checkpoint is accepted, and then fails."""
        self.checkpoint_failure = message

    def swap_deployment_on_next_approve(
        self, diff: dict[str, Any] | None = None, *, phase: str = "AwaitingApproval"
    ) -> None:
        """Somebody stops, edits and starts between the caller's GET and POST: approve hits the next process.

        `diff` is what the next process waits for, by default the same; `phase` is what it is in,
        AwaitingApproval or Initializing.
        """
        self._swap = (diff, phase)

    def _start_arguments(self) -> tuple[str | None, str | None, bool, bool]:
        row = self.row
        return row.initial, row.bootstrap_policy, row.silent_bootstrap, row.concurrent_bootstrap

    def _swap_now(self) -> None:
        assert self._swap is not None
        (diff, phase), self._swap = self._swap, None
        self.close()
        if diff is not None:
            self.change = diff
        self.deployment_id = self.world.ids.new()
        process = self.new_process()
        if phase == "Initializing":
            self._next(self.initialized)
            return
        process.diff = self.found_diff()
        self.enter(phase)
