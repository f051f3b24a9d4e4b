"""The invariants of the calls: what the operator asks Feldera to do, and what that did.

Each recorded attempt (a status with outcome Sending and its number) allows one call, soon after it was recorded, by
whoever recorded it, after a fresh read that showed what was decided. What reached a process must then be what was
decided, unless the deployment was swapped between that read and the call: Feldera leaves no way to prevent that, so
it must be reported.
"""

import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline_approver.settings import Settings
from simulation.checks import StatusChecks, identity
from simulation.deployments import Approval, Deployment
from simulation.kubernetes import Kubernetes, Write
from simulation.network import Call
from simulation.truth import Manifest, digest_of, name_of

RESEND_SECONDS = 60.0
EXCUSABLE_SECONDS = 0.01
FAILED_POLLS = 3
LONGEST_POLL_SECONDS = 60.0
"""A read of thirty seconds, and a pause that Feldera asked for."""
LONGEST_WRITE_SECONDS = 30.0
VERDICTS = {"approve": "Approved", "stop": "Rejected"}


@dataclass(slots=True, eq=False)
class Attempt:
    """One recorded attempt."""

    process: Any
    recorded_at: float
    uid: str
    name: str
    decision: Manifest
    was_sent: bool = False
    """Whether Feldera was known to have taken an earlier one."""
    call: Call | None = None
    read: Call | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        return self.uid, self.decision["requestId"], self.decision["verdict"]


@dataclass(frozen=True, slots=True)
class Stray:
    """A call that hit another deployment than the one that was decided about."""

    at: float
    attempt: Attempt
    deployment: Deployment


class CallChecks:
    """Judges every call that carries a decision."""

    def __init__(
        self,
        *,
        kubernetes: Kubernetes,
        statuses: StatusChecks,
        settings: Settings,
        clock: Callable[[], float],
        complain: Callable[[str], None],
    ) -> None:
        self.strays: list[Stray] = []
        self.approvals = 0
        self.rejections = 0
        self.resent = 0
        self.unseen = 0
        """Approvals of a change that came up within one deployment, too late for anybody to see it."""
        self._kubernetes = kubernetes
        self._statuses = statuses
        self._settings = settings
        self._clock = clock
        self._complain = complain
        self._attempts: list[Attempt] = []
        self._lists: dict[Any, collections.deque[Call]] = {}
        """The last reads by process, of one pipeline or of all."""
        self._reads: dict[tuple[Any, str], list[Call]] = {}
        """The last single reads by process and pipeline."""
        self._sent_at: dict[tuple[str, str, str], float] = {}
        """When a decision was recorded as taken."""

    def note_write(self, write: Write) -> None:
        """Remember an attempt that was recorded."""
        old, new = (it.get("status", {}).get("decision", {}) for it in (write.before, write.after))
        if new.get("outcome") == "Sent" and old.get("outcome") == "Sending":
            self._sent_at[(write.after["metadata"]["uid"], new["requestId"], new["verdict"])] = write.at
        if new.get("outcome") != "Sending":
            return
        if not old or identity(old) != identity(new) or old.get("attempts", 0) != new["attempts"]:
            uid = write.after["metadata"]["uid"]
            self._judge_knowledge(write)
            self._attempts.append(
                Attempt(write.process, write.at, uid, name_of(write.after), new, old.get("outcome") == "Sent")
            )

    def note_call(self, call: Call) -> None:
        """An operator is about to send this to Feldera."""
        parts = call.path.strip("/").split("/")
        if call.method == "GET" and len(parts) <= 3:
            self._lists.setdefault(call.process, collections.deque(maxlen=200)).append(call)
        if len(parts) == 3 and call.method == "GET":
            key = (call.process, parts[2])
            self._reads[key] = [*self._reads.get(key, ())[-20:], call]
        elif len(parts) == 4 and parts[3] in VERDICTS:
            attempt = self._find_attempt(call, parts[2], VERDICTS[parts[3]])
            if attempt is None:
                self._complain(
                    f"{call.operator.name} sends {parts[3]} to {parts[2]} without a recorded attempt of its own"
                )
                return
            reads = [it for it in self._reads.get((call.process, parts[2]), ()) if it.closed_at is not None]
            attempt.call, attempt.read = call, max(reads, key=lambda it: it.closed_at or 0.0, default=None)
            for complaint in self._judge_call(attempt, call):
                self._complain(
                    f"{call.operator.name} sends {parts[3]} for {attempt.decision['requestId']}: {complaint}"
                )

    def note_answer(self, call: Call) -> None:
        """Feldera has answered a call; what it said is true of the decision, whoever hears it."""
        attempt = next((it for it in self._attempts if it.call is call), None)
        if attempt is None or call.answer is None:
            return
        if 200 <= call.answer.status < 300:
            self._statuses.taken.add(attempt.key)
        elif call.answer.status in (400, 501):
            self._statuses.refused.add(attempt.key)

    def note_leave(self, deployment: Deployment, approval: Approval) -> None:
        """A deployment bootstraps its change because of an approval."""
        if approval.call is not None:
            self.approvals += 1
            outputs = "Silent" if approval.silent else "Emit"
            self._judge_effect(approval.call, deployment, digest_of(deployment, outputs))

    def note_stop(self, call: Call, deployment: Deployment | None) -> None:
        """Feldera has taken an operator's stop."""
        if deployment is not None:
            self.rejections += 1
            self._judge_effect(call, deployment, None)

    def forget(self, before: float) -> None:
        """Drop what is long over."""
        self._attempts = [it for it in self._attempts if it.recorded_at > before]

    def _judge_knowledge(self, write: Write) -> None:
        """Nothing is decided by who has not heard from Feldera for so long that polls must be missing."""
        heard = [it.closed_at for it in self._lists.get(write.process, ()) if it.heard and it.answer and it.closed_at]
        silent = self._clock() - max(heard, default=0.0)
        interval = self._settings.poll_interval_seconds
        if silent > FAILED_POLLS * (LONGEST_POLL_SECONDS + 1.1 * interval) + LONGEST_WRITE_SECONDS:
            self._complain(f"{write.operator.name} decides, and has not heard from Feldera for {silent:.0f} s")

    def _find_attempt(self, call: Call, name: str, verdict: str) -> Attempt | None:
        """The last one that this process recorded and has not made."""
        for attempt in reversed(self._attempts):
            wanted = (call.process, name, verdict, None)
            if (attempt.process, attempt.name, attempt.decision["verdict"], attempt.call) == wanted:
                return attempt
        return None

    def _judge_call(self, attempt: Attempt, call: Call) -> Iterator[str]:
        decision, read = attempt.decision, attempt.read
        late = self._clock() - attempt.recorded_at
        if late > self._settings.settle_seconds - self._settings.approve_timeout_seconds + EXCUSABLE_SECONDS:
            yield f"its record is {late:.1f} s old"
        if read is None or read.sent_at < attempt.recorded_at:
            yield "nothing was read between the record and the call"
        elif read.seen is None or not read.heard:
            yield "the read before the call brought nothing"
        else:
            seen = read.seen
            if seen["deployment"] is None or seen["deployment"].id != decision["deploymentId"]:
                yield "the read before the call showed another deployment"
            if seen["status"] != "AwaitingApproval":
                yield f"the read before the call showed {seen['status']}"
            if seen["resources_desired"] != "Provisioned":
                yield "the read before the call showed that the pipeline is being stopped"
            if decision["verdict"] == "Approved" and seen["desired"] not in ("Running", "Paused"):
                yield f"the read before the call showed that the pipeline is wanted {seen['desired']}"
        outputs = "Silent" if call.query.get("silent_bootstrap") == "true" else "Emit"
        if decision["verdict"] == "Approved" and outputs != decision["outputs"]:
            yield f"its flags say {outputs}, and {decision['outputs']} was decided"
        yield from self._judge_again(attempt, call)

    def _judge_again(self, attempt: Attempt, call: Call) -> Iterator[str]:
        """What was sent before must be over, and its answer must not end the matter."""
        sent_at = self._sent_at.get(attempt.key, 0.0)
        pause = self._clock() - sent_at
        shown = attempt.read.seen and attempt.read.seen["deployment"] if attempt.read else None
        asks_anew = shown is not None and shown.waited_at[-1:] > [sent_at]
        if attempt.was_sent and not asks_anew and pause < RESEND_SECONDS - EXCUSABLE_SECONDS:
            yield f"Feldera was recorded to have taken it {pause:.1f} s ago"
        for earlier in self._attempts:
            if earlier.key != attempt.key or earlier is attempt or earlier.call is None:
                continue
            self.resent += 1
            past = earlier.call
            if past.closed_at is None and not past.process.dead and not past.process.frozen:
                yield "another call for it is still under way"
            same = identity(earlier.decision) == identity(attempt.decision)
            if past.heard and past.answer is not None and same and past.process is call.process:
                if past.answer.status in (400, 501):
                    yield f"Feldera refused it before ({past.answer.status})"
                pause = self._clock() - (past.closed_at or 0.0)
                if (
                    past.answer.status < 300
                    and pause < RESEND_SECONDS - EXCUSABLE_SECONDS
                    and self._asks_nothing_new(past)
                ):
                    yield f"Feldera took it {pause:.1f} s ago"
            waited = self._clock() - past.sent_at
            if (
                not past.heard
                and waited < self._settings.approve_timeout_seconds - EXCUSABLE_SECONDS
                and past.fate not in _NOT_SENT
            ):
                yield f"it was sent {waited:.1f} s ago, and what became of that is not known"

    def _asks_nothing_new(self, past: Call) -> bool:
        """Whether the process has not come up since, so that what waits is what was answered."""
        deployment = past.seen[0] if isinstance(past.seen, tuple) else past.seen
        return deployment is not None and len(deployment.waited_at) < 2

    def _judge_effect(self, call: Call, deployment: Deployment, digest: str | None) -> None:
        attempt = next((it for it in self._attempts if it.call is call), None)
        if attempt is None:
            self._complain(f"deployment {deployment.id} was decided by a call without a recorded attempt")
            return
        decision = attempt.decision
        if deployment.id == decision["deploymentId"] and digest in (None, decision["digest"]):
            return
        read = attempt.read
        if read is not None and read.heard and read.seen is not None and read.sent_at >= attempt.recorded_at:
            shown, diff = read.seen["deployment"], read.seen["diff"]
            if shown is not None and shown.id == decision["deploymentId"]:
                if deployment.id != shown.id:
                    self.strays.append(Stray(self._clock(), attempt, deployment))
                    return
                if diff is not None and digest_of(shown, decision["outputs"], diff) == decision["digest"]:
                    # Its process was started again from another state, between the read and the call.
                    self.unseen += 1
                    return
        what = "approved" if digest is not None else "stopped"
        self._complain(f"deployment {deployment.id} was {what}, and what was decided is {dict(decision)}")


_NOT_SENT = ("refused", "no connection", "error before", "slow to connect")
