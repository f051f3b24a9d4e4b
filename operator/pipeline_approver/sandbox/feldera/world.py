"""What all pipelines of one simulated Feldera share: knobs, timers, identifiers and records."""

from dataclasses import dataclass, field

from pipeline_approver.sandbox.feldera.clock import TimeOrderedIds, Timers
from pipeline_approver.sandbox.feldera.records import ApprovalRecord, StopRecord

VERSION = "0.337.0"


@dataclass(slots=True, kw_only=True)
class World:
    """Shared by reference; every knob may be turned while the server runs."""

    lag_seconds: float = 0.05
    """From a change of the real process to the row that GET serves; also from a desired status to the reaction."""
    step_seconds: float = 0.05
    """Duration of each transient phase: compiling, provisioning, initializing, bootstrapping, stopping, writing."""
    edition: str = "Enterprise"
    approve_style: str = "string"
    """`string`: 200 and a JSON string. `documented`: 202 and the number of a checkpoint that follows by itself.

    The open source edition has no checkpoints and always answers with the string.
    """
    details_shape: str = "new"
    """`new`: `{"approval_diff": …}`. `old`: the details are the diff."""
    platform_version: str = VERSION
    report_incarnation: bool = True
    """Whether answers name the process incarnation; older runtimes do not."""
    healthy: bool = True
    """What /v0/cluster_healthz says of the runner."""
    timers: Timers = field(default_factory=Timers)
    ids: TimeOrderedIds = field(default_factory=TimeOrderedIds)
    approvals: list[ApprovalRecord] = field(default_factory=list)
    stops: list[StopRecord] = field(default_factory=list)
    revision: int = 0
    """Counts changes of any row, so that a list can be cached."""

    @property
    def enterprise(self) -> bool:
        return self.edition.startswith("Enterprise")
