"""The row of a pipeline in Feldera's database: what GET serves, and how it looks on the wire.

User fields and desired states are written by the API at once; everything observed is written by the runner, later.
"""

from dataclasses import dataclass, field
from typing import Any

RUNTIME_DEFAULTS: dict[str, Any] = {
    "workers": 8,
    "hosts": 1,
    "storage": {"backend": {"name": "default"}, "compression": "default"},
    "fault_tolerance": {"model": "none", "checkpoint_interval_secs": 60},
    "cpu_profiler": True,
    "tracing": False,
    "resources": {},
}
PROGRAM_DEFAULTS: dict[str, Any] = {
    "profile": None,
    "cache": True,
    "runtime_version": None,
    "use_platform_compiler": False,
}


@dataclass(slots=True, kw_only=True)
class Row:
    """One pipeline. Times are RFC 3339; statuses are Feldera's words; `runtime*` is None unless Provisioned."""

    id: str
    name: str
    created_at: str
    platform_version: str
    description: str = ""
    tags: list[str] = field(default_factory=list)
    version: int = 1
    runtime_config: dict[str, Any] = field(default_factory=lambda: dict(RUNTIME_DEFAULTS))
    program_code: str = ""
    udf_rust: str = ""
    udf_toml: str = ""
    program_config: dict[str, Any] = field(default_factory=lambda: dict(PROGRAM_DEFAULTS))
    program_version: int = 1
    program_status: str = "Pending"
    program_status_since: str = ""
    program_error: dict[str, Any] = field(default_factory=lambda: no_program_error())
    program_info: dict[str, Any] | None = None
    refresh_version: int = 1
    storage_status: str = "Cleared"
    storage_details: dict[str, Any] | None = None
    deployment_error: dict[str, Any] | None = None
    deployment_id: str | None = None
    initial: str | None = None
    resources: str = "Stopped"
    resources_since: str = ""
    resources_desired: str = "Stopped"
    resources_desired_since: str = ""
    runtime: str | None = None
    runtime_since: str | None = None
    runtime_details: Any = None
    runtime_desired: str | None = None
    runtime_desired_since: str | None = None
    bootstrap_policy: str | None = None
    silent_bootstrap: bool = False
    concurrent_bootstrap: bool = False

    @property
    def status(self) -> str:
        """The combined status: the runtime's once resources are Provisioned, else that of the resources."""
        return self.runtime or "Unavailable" if self.resources == "Provisioned" else self.resources

    @property
    def desired_status(self) -> str:
        if self.resources_desired == "Stopped":
            return "Stopped"
        return self.runtime_desired or self.initial or "Unavailable"


def no_program_error() -> dict[str, Any]:
    return {"sql_compilation": None, "rust_compilation": None, "system_error": None}


def status_object(row: Row) -> dict[str, Any]:
    """The 33 keys of `selector=status`."""
    return {
        **_identity(row),
        "program_config": row.program_config,
        **_program(row),
        **_deployment(row),
        "bootstrap_policy": row.bootstrap_policy,
        "silent_bootstrap": row.silent_bootstrap,
        "concurrent_bootstrap": row.concurrent_bootstrap,
    }


def connectors_object(row: Row) -> dict[str, Any]:
    """`selector=status_with_connectors`: one key more, absent when unknown."""
    known = isinstance(row.runtime_details, dict) and "connector_stats" in row.runtime_details
    return status_object(row) | ({"connectors": row.runtime_details["connector_stats"]} if known else {})


def all_object(row: Row) -> dict[str, Any]:
    """`selector=all`, the default: the texts and what the compiler made of them as well."""
    return status_object(row) | _texts(row)


def info_object(row: Row) -> dict[str, Any]:
    """The answer of POST, PUT, PATCH and /update_runtime, which has no bootstrap keys."""
    return {
        **_identity(row),
        "program_config": row.program_config,
        **_program(row),
        **_deployment(row),
        **_texts(row),
    }


def _identity(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "tags": row.tags,
        "created_at": row.created_at,
        "version": row.version,
        "platform_version": row.platform_version,
    }


def _program(row: Row) -> dict[str, Any]:
    return {
        "program_version": row.program_version,
        "program_status": row.program_status,
        "program_status_since": row.program_status_since,
        "deployment_error": row.deployment_error,
        "refresh_version": row.refresh_version,
        "storage_status": row.storage_status,
        "storage_status_details": row.storage_details,
    }


def _deployment(row: Row) -> dict[str, Any]:
    desired_since = max(row.resources_desired_since, row.runtime_desired_since or "")
    return {
        "deployment_id": row.deployment_id,
        "deployment_initial": row.initial,
        "deployment_status": row.status,
        "deployment_status_since": max(row.resources_since, row.runtime_since or ""),
        "deployment_desired_status": row.desired_status,
        "deployment_desired_status_since": desired_since,
        "deployment_resources_status": row.resources,
        "deployment_resources_status_since": row.resources_since,
        "deployment_resources_desired_status": row.resources_desired,
        "deployment_resources_desired_status_since": row.resources_desired_since,
        "deployment_runtime_status": row.runtime,
        "deployment_runtime_status_details": row.runtime_details,
        "deployment_runtime_status_since": row.runtime_since,
        "deployment_runtime_desired_status": row.runtime_desired,
        "deployment_runtime_desired_status_since": row.runtime_desired_since,
    }


def _texts(row: Row) -> dict[str, Any]:
    return {
        "runtime_config": row.runtime_config,
        "program_code": row.program_code,
        "udf_rust": row.udf_rust,
        "udf_toml": row.udf_toml,
        "program_error": row.program_error,
        "program_info": row.program_info,
        "deployment_resources_status_details": {} if row.resources == "Provisioned" else None,
    }
