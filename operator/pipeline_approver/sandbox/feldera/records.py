"""What the simulated Feldera remembers for the tests: approvals, stops and requests."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRecord:
    """One approve call that reached a pipeline process, whether it was wanted there or not."""

    name: str
    pipeline_id: str
    deployment_id: str
    """The deployment that was hit, which need not be the one that the caller had looked at."""
    phase: str
    """Runtime status of the real process when the call arrived."""
    silent: bool
    concurrent: bool
    effective: bool
    """The process was waiting for approval, so the call let it go on."""
    at: float
    """Unix time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRecord:
    """One accepted stop."""

    name: str
    pipeline_id: str
    deployment_id: str | None
    phase: str
    """Runtime status of the real process, or its resources status while there is no process."""
    force: bool
    at: float
    """Unix time in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One HTTP request below /v0 or /healthz."""

    method: str
    path: str
    query: str
    status: int
    """HTTP status of the answer; 0 when the connection was cut instead."""
    at: float
    """Unix time in seconds at which the request arrived."""
