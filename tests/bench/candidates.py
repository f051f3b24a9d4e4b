"""What is measured: each a process of its own, told where the two APIs are and how often to poll."""

import sys
from dataclasses import dataclass
from pathlib import Path

PEERS = Path(__file__).resolve().parent / "peers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to approve pipelines from Kubernetes."""

    name: str
    title: str
    script: str | None
    """A file in `peers`; None for the operator itself."""
    most_pipelines: int = 10_000
    """With more it does not get anywhere in reasonable time."""

    def command(self, *, kube: str, feldera: str, interval: float) -> list[str]:
        """The command line."""
        if self.script is None:
            flags = ["--poll-interval", f"{interval:g}", "--health-port", "0", "--log-level", "warning"]
            return [sys.executable, "-m", "pipeline_approver", "run", *flags]
        where = [kube, feldera] if self.script == "bare.py" else [feldera]
        return [sys.executable, str(PEERS / self.script), *where, f"{interval:g}"]


CANDIDATES = (
    Candidate(name="ours", title="pipeline-approver", script=None),
    Candidate(name="timer", title="kopf timer per resource", script="timer.py"),
    Candidate(name="sdk", title="official client in a loop", script="sdk.py"),
    Candidate(name="floor", title="bare script (floor)", script="bare.py"),
)
