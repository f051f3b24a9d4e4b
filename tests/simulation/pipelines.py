"""Feldera's pipelines as they really are, and as the runner last saw them.

What the database holds (the deployment, the resources, what is desired of them) is never stale. What the process
does is seen by the runner alone, later, or not at all while the runner is down; `approve` goes past it.
"""

import json
from collections.abc import Callable
from typing import Any

from simulation.deployments import Approval, Deployment, Diff, Process, Program, World, find_diff

RUNNING = ("Running", "Paused")


class Pipeline:
    """One pipeline."""

    def __init__(self, world: World, name: str, program: Program) -> None:
        self.world = world
        self.id = world.name("pipeline")
        self.name = name
        self.program = program
        self.program_version = 1
        self.checkpoint: Program | None = None
        self.deleted = False
        self.resources = "Stopped"
        self.resources_desired = "Stopped"
        self.desired = "Stopped"
        self.policy = "await_approval"
        self.silent = self.concurrent = False
        self.deployment: Deployment | None = None
        self.process: Process | None = None
        self.error: Diff | None = None
        self.fails_next = ""
        self.fails_next_checkpoint = False
        self.stored: str | None = None
        """The deployment whose approval the pod has written to its storage."""
        self.version = 0
        self.runtime: str | None = None
        self.runtime_desired = "Stopped"
        self.details: Any = None
        self._texts: dict[str, bytes] = {}

    # What GET shows.

    def text(self, selector: str) -> bytes:
        """The row as JSON."""
        text = self._texts.get(selector)
        if text is None:
            text = self._texts[selector] = json.dumps(self._render(selector == "all")).encode()
        return text

    @property
    def status(self) -> str:
        """The combined status, as it is seen."""
        return self.resources if self.resources != "Provisioned" else self.runtime or "Initializing"

    @property
    def shown_diff(self) -> Diff | None:
        """The change, as it is seen."""
        if self.runtime != "AwaitingApproval":
            return None
        diff: Diff | None = self.details if self.world.traits.old_details else self.details["approval_diff"]
        return diff

    @property
    def desired_status(self) -> str:
        """The combined desired status, as it is seen."""
        if self.resources_desired == "Stopped":
            return "Stopped"
        return self.runtime_desired if self.resources == "Provisioned" else self.desired

    def _render(self, whole: bool) -> dict[str, Any]:
        row = {
            "id": self.id,
            "name": self.name,
            "refresh_version": self.version,
            "program_version": self.program_version,
            "platform_version": "0.337.0",
            "deployment_id": self.deployment.id if self.deployment else None,
            "deployment_status": self.status,
            "deployment_desired_status": self.desired_status,
            "deployment_resources_status": self.resources,
            "deployment_resources_desired_status": self.resources_desired,
            "deployment_runtime_status": self.runtime,
            "deployment_runtime_status_details": self.details,
            "deployment_error": self.error,
            "silent_bootstrap": self.silent,
            "concurrent_bootstrap": self.concurrent,
        }
        if whole:
            row |= {
                "program_code": self.program.code,
                "udf_rust": self.program.udf,
                "udf_toml": "",
                "program_info": None,
            }
        return row

    def touch(self) -> None:
        """The row changed."""
        self.version += 1
        self.world.revision += 1
        self._texts.clear()

    def observe(self) -> None:
        """The runner looks at the process."""
        if not self.world.runner_up or self.deleted:
            return
        if self.resources != "Provisioned":
            self.runtime = self.details = None
        elif self.process is None:
            self.runtime, self.details = "Unavailable", self._reason()
        else:
            self.runtime, self.runtime_desired = self.process.phase, self.desired
            self.details = "" if self.world.traits.old_details else {}
            if self.process.phase == "AwaitingApproval":
                diff = self.process.deployment.diff
                self.details = diff if self.world.traits.old_details else {"approval_diff": diff}
        self.touch()

    def flap(self) -> None:
        """The runner fails to reach the process once."""
        if self.world.runner_up and self.resources == "Provisioned":
            self.runtime, self.details = "Unavailable", self._reason()
            self.touch()
            self.world.after(self.world.rng.uniform(0.5, 8.0), self.observe)

    def _reason(self) -> Any:
        reason = "Error sending HTTP request to pipeline"
        return reason if self.world.traits.old_details else {"reason": reason}

    def _changed(self) -> None:
        self.world.after(self.world.rng.uniform(*self.world.traits.lag), self.observe)

    # What owners do.

    def start(self, *, initial: str, policy: str, silent: bool, concurrent: bool) -> bool:
        if (self.resources, self.resources_desired) != ("Stopped", "Stopped") or self.deleted:
            return False
        self.resources_desired, self.desired, self.runtime_desired = "Provisioned", initial, initial
        self.policy, self.silent, self.concurrent, self.error = policy, silent, concurrent, None
        self.touch()
        self._by_runner(0.1, 2.5, self._provision)
        return True

    def stop(self) -> None:
        """POST /stop?force=true: always legal."""
        if self.deployment is not None:
            self.deployment.stops.append(self.world.clock())
        if self.resources_desired != "Stopped":
            self.resources_desired = "Stopped"
            self.touch()
            self._by_runner(0.05, 2.5, self._stopping)

    def desire(self, desired: str) -> None:
        """POST /pause, /resume, /suspend."""
        if self.process is None or self.resources_desired == "Stopped":
            return
        self.desired = desired
        if self.process.phase in RUNNING:
            self._come_up(self.process)
        self._changed()

    def edit(self, program: Program) -> bool:
        if (self.resources, self.resources_desired) != ("Stopped", "Stopped") or self.deleted:
            return False
        self.program, self.program_version = program, self.program_version + 1
        self.touch()
        return True

    def delete(self) -> bool:
        if (self.resources, self.resources_desired) != ("Stopped", "Stopped"):
            return False
        self.deleted = True
        self.touch()
        return True

    def approve(self, *, silent: bool, concurrent: bool, call: Any = None) -> Approval | None:
        """What the process makes of an approval: it takes it, whatever it is doing."""
        process = self.process
        if process is None:
            return None
        waiting = process.phase == "AwaitingApproval"
        decides = not process.allowed and (waiting or process.phase == "Initializing")
        approval = Approval(self.world.clock(), process.phase, silent, concurrent, decides, call)
        process.deployment.approvals.append(approval)
        process.allowed = True
        if decides:
            process.decided_by = approval
        if waiting:
            self._in_process(process, 0.01, 0.05, self._leave)
        return approval

    def request_checkpoint(self) -> tuple[int, str] | None:
        """Number and incarnation; None where there is no controller yet."""
        process = self.process
        if process is None or process.phase in ("Initializing", "AwaitingApproval"):
            return None
        return self._number(process)

    def _number(self, process: Process) -> tuple[int, str]:
        number, process.next_number = process.next_number, process.next_number + 1
        self.world.numbers[(self.id, process.incarnation, number)] = "requested"
        process.waiting.append(number)
        self._in_process(process, 0.2, 20.0, self._write_checkpoints)
        return number, process.incarnation

    def number_with_approval(self) -> tuple[int, str] | None:
        """The checkpoint that the documented answer of approve names."""
        return self._number(self.process) if self.process is not None else None

    # The life of a deployment.

    def _by_runner(self, low: float, high: float, action: Callable[[], None]) -> None:
        def act() -> None:
            if self.world.runner_up:
                action()
            else:
                self.world.postponed.append(act)

        self.world.after(self.world.rng.uniform(low, high), act)

    def _in_process(self, process: Process, low: float, high: float, action: Callable[[Process], None]) -> None:
        def act() -> None:
            if self.process is process:
                action(process)

        self.world.after(self.world.rng.uniform(low, high), act)

    def _provision(self) -> None:
        if self.resources != "Stopped" or self.resources_desired != "Provisioned":
            return
        self.resources = "Provisioning"
        world = self.world
        deployment = Deployment(
            world.name("deployment"), self.id, self.name, self.program, self.silent, self.concurrent
        )
        self.deployment = world.deployments[deployment.id] = deployment
        self.observe()
        self._by_runner(0.1, 3.0, self._provisioned)

    def _provisioned(self) -> None:
        if self.resources == "Provisioning" and self.resources_desired == "Provisioned":
            self.resources = "Provisioned"
            self._run_process()
            self.observe()

    def _run_process(self) -> None:
        assert self.deployment is not None
        process = self.process = Process(self.deployment, self.world.name("incarnation"))
        process.allowed = self.policy == "allow" or self.stored == self.deployment.id
        self._in_process(process, 0.05, 3.0, self._compare)

    def _compare(self, process: Process) -> None:
        deployment = process.deployment
        diff = find_diff(self.checkpoint, deployment.program)
        if diff is not None and diff != deployment.diff:
            deployment.diff = diff
            deployment.diffs.append(diff)
        if diff is None:
            self._come_up(process)
        elif process.allowed:
            self._leave(process)
        elif self.policy == "reject":
            self._die("BootstrapRejected")
        else:
            process.phase = "AwaitingApproval"
            deployment.waited_at.append(self.world.clock())
            self._changed()

    def _leave(self, process: Process) -> None:
        if process.phase == "AwaitingApproval":
            process.deployment.left_at.append(self.world.clock())
        if process.decided_by is not None:
            for listener in self.world.on_leave:
                listener(process.deployment, process.decided_by)
        self.stored = process.deployment.id
        process.phase = "Initializing"
        self._changed()
        if self.fails_next:
            self._in_process(process, 0.1, 3.0, lambda _: self._die("InitializationError"))
            return
        self._in_process(process, 0.05, 2.0, self._bootstrap)

    def _bootstrap(self, process: Process) -> None:
        if self.world.rng.random() < 0.3:
            self._come_up(process)
            return
        process.phase = "ConcurrentBootstrapping" if self.concurrent else "Bootstrapping"
        self._changed()
        self._in_process(process, 0.1, 20.0, self._come_up)

    def _come_up(self, process: Process) -> None:
        if self.desired == "Suspended":
            self.checkpoint = process.deployment.program
            self.resources_desired = "Stopped"
            self.touch()
            self._by_runner(0.05, 2.5, self._stopping)
            return
        process.phase = self.desired
        process.deployment.came_up_at = process.deployment.came_up_at or self.world.clock()
        self._changed()

    def _write_checkpoints(self, process: Process) -> None:
        if process.phase not in RUNNING:
            self._in_process(process, 1.0, 20.0, self._write_checkpoints)
            return
        numbers, process.waiting = process.waiting, []
        for number in numbers:
            fails, self.fails_next_checkpoint = self.fails_next_checkpoint, False
            self.world.numbers[(self.id, process.incarnation, number)] = "failed" if fails else "complete"
            if fails:
                process.failure = (number, "no space left on device")
            else:
                process.success = max(process.success or 0, number)
                self.checkpoint = process.deployment.program

    def write_scheduled_checkpoint(self) -> None:
        """The periodic checkpoint that a pipeline may have configured."""
        if self.process is not None and self.process.phase in RUNNING:
            self.checkpoint = self.process.deployment.program

    def crash(self, *, loses_storage: bool, pulled: Program | None = None) -> None:
        """The pod dies and is started again, in the same deployment.

        Without its storage it may start from what it pulls from a bucket, which others may write to as well.
        """
        if self.process is None or self.resources != "Provisioned":
            return
        self.process = None
        if loses_storage:
            self.stored = None
            self.checkpoint = pulled or self.checkpoint
        self._changed()

        def restart() -> None:
            if self.process is None and self.resources == "Provisioned" and self.resources_desired == "Provisioned":
                self._run_process()
                self._changed()

        self.world.after(self.world.rng.uniform(1.0, 10.0), restart)

    def _die(self, why: str) -> None:
        assert self.deployment is not None
        self.deployment.error = why
        self.fails_next = ""
        self.resources_desired = "Stopped"
        self.touch()
        self._by_runner(0.05, 1.0, self._stopping)

    def _stopping(self) -> None:
        if self.resources in ("Provisioned", "Provisioning"):
            self.resources, self.process = "Stopping", None
            self.silent = self.concurrent = False
            self._report_error()
            self.observe()
        self._by_runner(0.1, 3.0, self._stopped)

    def _stopped(self) -> None:
        if self.resources_desired == "Stopped" and self.resources != "Stopped":
            if self.deployment is not None:
                self.deployment.ended_at = self.world.clock()
            self._report_error()
            self.resources, self.deployment, self.process = "Stopped", None, None
            self.observe()

    def _report_error(self) -> None:
        if self.deployment is not None and self.deployment.error:
            self.error = {"error_code": self.deployment.error, "message": "cannot open sink", "details": {}}
