"""What Feldera says about one pipeline, as values that compare and hash.

The words are Feldera's own and stay plain strings: new ones appear without a new API version, and an unknown
word must survive as "something else", never as an error.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentError:
    """Why the last deployment died: Feldera's `deployment_error`."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineView:
    """One pipeline as `GET /v0/pipelines?selector=status` shows it: the runner's last observation, possibly stale."""

    id: str
    name: str
    status: str
    """Combined `deployment_status`, for example AwaitingApproval; empty when absent."""
    desired_status: str = ""
    resources_desired_status: str = ""
    deployment_id: str | None = None
    """New for every start; None while stopped."""
    program_version: int = 0
    platform_version: str = ""
    silent_bootstrap: bool = False
    concurrent_bootstrap: bool = False
    deployment_error: DeploymentError | None = None
    diff: str | None = None
    """The approval diff as JSON text (an object, keys sorted); None when Feldera shows none right now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a pipeline runs, reduced to fingerprints: hex SHA-256 of each source text (empty text when null)."""

    program_code: str
    udf_rust: str
    udf_toml: str
    feeds: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Relation name to its output connectors, sorted, from `program_info.output_connectors`; empty when unknown."""
