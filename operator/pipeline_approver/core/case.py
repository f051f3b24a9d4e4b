"""What a decision is made from, and what it consists of."""

import datetime
import enum
from dataclasses import dataclass

from pipeline_approver.core.change import Outputs
from pipeline_approver.core.observation import PipelineView, Program
from pipeline_approver.core.resource import Resource
from pipeline_approver.core.status import Status, Verdict
from pipeline_approver.core.times import Moment

AWAITING_APPROVAL = "AwaitingApproval"
UNAVAILABLE = "Unavailable"
STOPPED = "Stopped"
PROVISIONED = "Provisioned"
RUNNING = ("Running", "Paused")
"""Feldera's words for a pipeline that has come up; also the desired states under which one may be approved."""
APPROVED = ("Bootstrapping", "ConcurrentBootstrapping", "Synchronizing", "Replaying")
"""Feldera's words for a pipeline that was approved and is on its way. Initializing is none of them: a process that
was started again says so too, and may ask once more."""


class OneShot(enum.StrEnum):
    """The operator's setting for the value `true`."""

    ANY = "any"
    """It approves the request that waits, else the next one."""
    WAITING = "waiting"
    """It approves only a request that the status already showed."""
    NEVER = "never"
    """It approves nothing; only ids and digests do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The operator's settings that bear on decisions."""

    one_shot: OneShot = OneShot.ANY
    settle: datetime.timedelta = datetime.timedelta(seconds=20)
    """How long a call whose fate is unknown may still be under way; longer than the client's timeout."""
    resend: datetime.timedelta = datetime.timedelta(seconds=60)
    """How long Feldera may still show AwaitingApproval after it took the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why something cannot be known or done, for a condition."""

    reason: str
    message: str
    needs_person: bool = False
    """True when waiting does not help: the configuration must change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is known of the pipeline in Feldera. Neither `view` nor `absent`: nothing is known yet."""

    view: PipelineView | None = None
    absent: bool = False
    """Feldera answered, and has no such pipeline."""
    program: Program | None = None
    """The program of the deployment in `view`, once it was read."""
    program_problem: Problem | None = None
    """Why the program could not be read."""
    problem: Problem | None = None
    """Why Feldera cannot be asked: what `view` says is then too old to decide anything from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that one decision is made from."""

    resource: Resource
    observation: Observation
    now: Moment
    rules: Rules = Rules()
    duplicate_of: str = ""
    """`namespace/name` of the older Pipeline that stands for the same Feldera pipeline."""
    released: frozenset[str] = frozenset()
    """Annotations that were seen without a value since their present one was used up."""
    is_news: bool = True
    """Whether Feldera was asked lately, and after this process learned of the status, or wrote it."""
    pause: datetime.timedelta | None = None
    """What is left of the pause before the decision may be sent again, by a clock that cannot be set; None: the
    time in the status counts as it is."""

    @property
    def retry_at(self) -> Moment | None:
        """Before this time no further call is made for the decision."""
        if self.pause is not None:
            return self.now + self.pause
        return self.status.decision.retry_at if self.status.decision else None

    @property
    def status(self) -> Status:
        """The status as it stands."""
        return self.resource.status

    @property
    def view(self) -> PipelineView | None:
        """The pipeline, where it is known well enough to judge by."""
        return None if self.observation.problem else self.observation.view

    @property
    def known(self) -> bool:
        """Whether Feldera's word on the pipeline is known."""
        return self.view is not None or (self.observation.absent and not self.observation.problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A call that carries out a recorded decision, once `verify` has passed directly before it."""

    verdict: Verdict
    request_id: str
    digest: str
    pipeline_id: str
    deployment_id: str
    outputs: Outputs
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadProgram:
    """Read the whole pipeline once, for the digest of its change."""

    deployment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCheckpoint:
    """Ask for the checkpoint that makes an approval durable."""

    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCheckpoint:
    """Ask how far the requested checkpoint is."""

    request_id: str
    number: int
    incarnation: str


Action = Act | ReadProgram | RequestCheckpoint | ReadCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What follows from a case: write `status` if it differs, and only then take the one action."""

    status: Status
    action: Action | None = None
    recheck_at: Moment | None = None
    """When to look again although nothing may have changed."""
