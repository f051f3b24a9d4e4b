"""The real life of a deployment: what the runner and the pipeline process do, whatever GET shows meanwhile.

Stopped, Provisioning, Provisioned with a process inside, Stopping. Every transient phase lasts one step of the world
and ends by a timer; nothing else makes time pass.
"""

import time
import uuid
from collections.abc import Callable
from typing import Any

from pipeline_approver.sandbox.feldera import diffs
from pipeline_approver.sandbox.feldera.clock import stamp
from pipeline_approver.sandbox.feldera.diffs import Program
from pipeline_approver.sandbox.feldera.errors import initialization_error
from pipeline_approver.sandbox.feldera.process import Process, StoredPolicy, new_checkpoint
from pipeline_approver.sandbox.feldera.rows import Row
from pipeline_approver.sandbox.feldera.world import World

KEPT_CHECKPOINTS = 2


class Life:
    """Real state and its transitions; the observed copy is the subclass's business."""

    def __init__(self, world: World, row: Row) -> None:
        self.world = world
        self.row = row
        self.resources = "Stopped"
        self.deployment_id: str | None = None
        self.process: Process | None = None
        self.error: dict[str, Any] | None = None
        self.checkpoints: list[dict[str, Any]] = []
        """Durable checkpoints, oldest first."""
        self.baseline: Program | None = None
        """The program of the newest durable checkpoint."""
        self.change: dict[str, Any] | None = None
        """A diff given by a test instead of a computed one; a checkpoint after it clears it."""
        self.failure_after_approval: str | None = None
        self.checkpoint_failure: str | None = None
        self._stored: StoredPolicy | None = None
        self._phase_timer: int | None = None
        self._write_timer: int | None = None
        self._react_timer: int | None = None

    def observe_soon(self) -> None:
        """The real state changed; the runner will see it after its lag."""
        raise NotImplementedError

    @property
    def phase(self) -> str:
        """What really is: the phase of the process, or the resources status where there is none."""
        if self.process is not None:
            return self.process.phase
        return "Unavailable" if self.resources == "Provisioned" else self.resources

    @property
    def program(self) -> Program:
        return Program(code=self.row.program_code, platform_version=self.row.platform_version)

    def close(self) -> None:
        """Forget every timer: the pipeline is deleted or replaced."""
        for timer in (self._phase_timer, self._write_timer, self._react_timer):
            self.world.timers.cancel(timer)
        self._phase_timer = self._write_timer = self._react_timer = None

    # The runner.

    def react_soon(self) -> None:
        """A desired status changed; the runner acts on it after its lag."""
        self.world.timers.cancel(self._react_timer)
        self._react_timer = self.world.timers.after(self.world.lag_seconds, self.react)

    def react(self) -> None:
        """Move towards the desired resources status."""
        desired = self.row.resources_desired
        if desired == "Stopped" and self.resources in {"Provisioning", "Provisioned"}:
            self.begin_stopping()
        elif desired == "Provisioned" and self.resources == "Stopped" and self.row.program_status == "Success":
            self.resources = "Provisioning"
            self.deployment_id = self.world.ids.new()
            self.error = None
            self.row.storage_status = "InUse"
            self._next(self._provisioned)

    def begin_stopping(self, *, error: dict[str, Any] | None = None) -> None:
        """Take the process away, with or without a `deployment_error`."""
        self.world.timers.cancel(self._write_timer)
        self.process = None
        self.resources = "Stopping"
        self.error = error
        if self.row.resources_desired != "Stopped":
            self.row.resources_desired = "Stopped"
            self.row.resources_desired_since = stamp()
        self._next(self._stopped)

    def _stopped(self) -> None:
        self.resources = "Stopped"
        self.deployment_id = None
        self.observe_soon()
        self.react_soon()

    def _provisioned(self) -> None:
        self.resources = "Provisioned"
        self.boot()

    # The process.

    def new_process(self) -> Process:
        """A process of the present deployment; the stored policy of this deployment wins over the arguments."""
        assert self.deployment_id is not None
        stored = self._stored
        mine = stored if stored is not None and stored.deployment_id == self.deployment_id else None
        self.process = Process(
            deployment_id=self.deployment_id,
            incarnation=str(uuid.uuid4()),
            desired=mine.desired if mine else self.row.initial or "Running",
            policy=mine.policy if mine else self.row.bootstrap_policy or "await_approval",
            silent=mine.silent if mine else self.row.silent_bootstrap,
            concurrent=self.row.concurrent_bootstrap,
            started_at=int(time.time()),
        )
        return self.process

    def boot(self) -> None:
        self.new_process()
        self._next(self.initialized)

    def crash(self, *, keep_policy: bool = True) -> None:
        """The process dies and is started again in the same deployment, one step later.

        Without `keep_policy` it died before it had stored its policy, so an approval is forgotten.
        """
        if self.resources != "Provisioned":
            raise ValueError(f"pipeline {self.row.name} has no process")
        self.world.timers.cancel(self._write_timer)
        if not keep_policy:
            self._stored = None
        self.process = None
        self._next(self.boot)

    def initialized(self) -> None:
        """The checkpoint is open and the diff is computed: go on, ask, or die."""
        process = self._alive()
        if process.desired == "Standby":
            self.enter("Standby")
            return
        process.diff = self.found_diff()
        if process.diff is None:
            self.run()
        elif self._has_lateness():
            self._die("BootstrapNotAllowed: programs that use LATENESS cannot be bootstrapped")
        elif process.policy == "reject":
            self._die("BootstrapRejected: the program was modified and the bootstrap policy is 'reject'")
        elif process.policy == "allow":
            self._bootstrap()
        else:
            self.enter("AwaitingApproval")

    def found_diff(self) -> dict[str, Any] | None:
        """The difference between the newest checkpoint and the program; None without a checkpoint or change."""
        if self.change is not None:
            return None if diffs.is_empty(self.change) else self.change
        if self.baseline is None:
            return None
        diff = diffs.between(self.baseline, self.program)
        return None if diffs.is_empty(diff) else diff

    def grant(self, *, silent: bool) -> None:
        """What the approve handler does: no questions asked, in whatever phase the process is."""
        process = self._alive()
        process.policy = "allow"
        process.silent = silent
        self.store_policy()
        if process.phase == "AwaitingApproval":
            process.phase = "Initializing"
            self._next(self._bootstrap)

    def activate(self) -> None:
        """Leave Standby: only now the diff is computed."""
        process = self._alive()
        if process.phase == "Standby":
            process.phase = "Initializing"
            process.desired = "Running"
            self._next(self.initialized)

    def desire(self, desired: str) -> None:
        """Pause, resume or suspend; while the process cannot, it only remembers."""
        process = self._alive()
        process.desired = desired
        if desired == "Suspended":
            self._suspend_if_possible()
        elif process.at_work:
            process.phase = desired
        self.store_policy()
        self.observe_soon()

    def _bootstrap(self) -> None:
        process = self._alive()
        if self.failure_after_approval is not None:
            message, self.failure_after_approval = self.failure_after_approval, None
            self._die(message)
        elif process.diff is None or not diffs.recomputes(process.diff):
            self.run()
        elif process.concurrent:
            self.enter("ConcurrentBootstrapping")
            self._next(self._synchronize)
        else:
            self.enter("Bootstrapping")
            self._next(self.run)

    def _synchronize(self) -> None:
        self.enter("Synchronizing")
        self._next(self.run)

    def run(self) -> None:
        """Reach Running or Paused, then do what had to wait: checkpoints and a suspension."""
        process = self._alive()
        self.enter("Paused" if process.desired == "Paused" else "Running")
        self._write_if_possible()
        self._suspend_if_possible()

    def enter(self, phase: str) -> None:
        self._alive().phase = phase
        self.store_policy()
        self.observe_soon()

    def store_policy(self) -> None:
        process = self._alive()
        self._stored = StoredPolicy(
            deployment_id=process.deployment_id,
            policy=process.policy,
            silent=process.silent,
            desired=process.desired,
        )

    # Checkpoints.

    def take_checkpoint(self) -> int:
        """Number a checkpoint and write it as soon as the process is at work."""
        number = self._alive().take_number()
        self._write_if_possible()
        return number

    def _write_if_possible(self) -> None:
        process = self._alive()
        if process.at_work and process.waiting and not process.writing:
            process.writing, process.waiting = process.waiting, []
            self._write_timer = self.world.timers.after(self.world.step_seconds, self._written)

    def _written(self) -> None:
        process = self._alive()
        numbers, process.writing = process.writing, []
        if self.checkpoint_failure is not None:
            error, self.checkpoint_failure = self.checkpoint_failure, None
            process.failure = {"sequence_number": numbers[-1], "error": error, "failed_at": stamp()}
        else:
            process.success = numbers[-1]
            self.make_durable()
        self._write_if_possible()
        self._suspend_if_possible()
        self.observe_soon()

    def make_durable(self) -> None:
        """A checkpoint of the present program: what the next start compares with."""
        self.baseline = self.program
        self.change = None
        checkpoint = new_checkpoint(self.world.ids.new(), self.baseline.code)
        self.checkpoints = [*self.checkpoints, checkpoint][-KEPT_CHECKPOINTS:]

    def _suspend_if_possible(self) -> None:
        """A graceful stop: a checkpoint, then Suspended, then the runner takes the resources away."""
        process = self._alive()
        if process.desired != "Suspended" or not process.at_work or process.writing or process.waiting:
            return
        self.world.timers.cancel(self._phase_timer)
        self._phase_timer = self.world.timers.after(self.world.step_seconds, self._suspended)

    def _suspended(self) -> None:
        if self._alive().desired != "Suspended":
            return
        self.make_durable()
        self.enter("Suspended")
        self._phase_timer = self.world.timers.after(self.world.step_seconds, self.begin_stopping)

    # Small things.

    def _alive(self) -> Process:
        assert self.process is not None, f"pipeline {self.row.name} has no process"
        return self.process

    def _has_lateness(self) -> bool:
        old = self.baseline.code if self.baseline is not None else ""
        return self.change is None and "LATENESS" in (old + self.row.program_code).upper()

    def _die(self, cause: str) -> None:
        self.begin_stopping(error=initialization_error(cause))

    def _next(self, action: Callable[[], None]) -> None:
        """The one thing that happens next, after a step; whatever was to happen before is void."""
        self.world.timers.cancel(self._phase_timer)
        self._phase_timer = self.world.timers.after(self.world.step_seconds, action)
        self.observe_soon()
