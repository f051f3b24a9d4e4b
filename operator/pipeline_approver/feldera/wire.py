"""Feldera's JSON to our values, for all server versions, and for servers that have a bad day.

Nothing here raises for a strange value: it counts as absent. A row cannot be used at all without id and name, or
with a deployment id that is none: absent would say that the pipeline is stopped.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeGuard

from pipeline_approver.core.observation import DeploymentError, PipelineView, Program

LARGEST_INT64 = 2**63 - 1
TEXT_LENGTH = 4096
ID_LENGTH = 64
DEEPEST_DIFF = 32
"""Levels of a diff. Feldera's has three; what is far deeper cannot be walked through."""


def parse_view(row: object) -> PipelineView | None:
    """One pipeline; None when the row is not one."""
    if not isinstance(row, dict):
        return None
    id_, name, deployment_id = row.get("id"), row.get("name"), row.get("deployment_id")
    if not (_is_id(id_) and isinstance(name, str) and name) or not (deployment_id is None or _is_id(deployment_id)):
        return None
    status = text(row.get("deployment_status"))
    return PipelineView(
        id=id_,
        name=name,
        status=status,
        desired_status=text(row.get("deployment_desired_status")),
        resources_desired_status=text(row.get("deployment_resources_desired_status")),
        deployment_id=deployment_id,
        program_version=int64(row.get("program_version")) or 0,
        platform_version=text(row.get("platform_version")),
        silent_bootstrap=row.get("silent_bootstrap") is True,
        concurrent_bootstrap=row.get("concurrent_bootstrap") is True,
        deployment_error=_parse_error(row.get("deployment_error")),
        diff=parse_diff(row.get("deployment_runtime_status_details")) if status == "AwaitingApproval" else None,
    )


def parse_program(row: Mapping[str, Any]) -> Program | None:
    """The fingerprints of a program; None when the row does not have it."""
    code, udf_rust, udf_toml = (row.get(key) for key in ("program_code", "udf_rust", "udf_toml"))
    if not (isinstance(code, str) and isinstance(udf_rust, str | None) and isinstance(udf_toml, str | None)):
        return None
    return Program(
        program_code=fingerprint(code),
        udf_rust=fingerprint(udf_rust or ""),
        udf_toml=fingerprint(udf_toml or ""),
        feeds=_parse_feeds(row.get("program_info")),
    )


def fingerprint(source: str) -> str:
    """The hex SHA-256 of a source text; empty for an empty one."""
    return hashlib.sha256(source.encode("utf-8", errors="surrogatepass")).hexdigest() if source else ""


def parse_diff(details: object) -> str | None:
    """A diff as canonical JSON text: under the key approval_diff, or the whole value, as before 0.322 and in /diff."""
    if not isinstance(details, dict):
        return None
    diff = details.get("approval_diff") if "approval_diff" in details else details
    if not isinstance(diff, dict) or ("program_diff" not in diff and diff is details):
        return None
    if not _is_within(diff, DEEPEST_DIFF):
        return None
    return json.dumps(diff, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def text(value: object, *, length: int = TEXT_LENGTH) -> str:
    """A string, bounded; anything else is empty."""
    return value[:length] if isinstance(value, str) else ""


def identifier(value: object) -> str | None:
    """An id that fits into a status."""
    return value if _is_id(value) else None


def int64(value: object) -> int | None:
    """A number that Kubernetes can hold as int64 and that is not negative."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_INT64:
        return value
    return None


def _parse_error(error: object) -> DeploymentError | None:
    if not isinstance(error, dict):
        return None
    return DeploymentError(
        code=text(error.get("error_code"), length=128) or "UnknownError",
        message=text(error.get("message"), length=1024),
    )


def _is_id(value: object) -> TypeGuard[str]:
    # Ids go into the status, and are compared with what stands there: so none is taken that would not fit.
    return isinstance(value, str) and 0 < len(value) <= ID_LENGTH and value.isprintable()


def _is_within(value: object, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels > 0 and all(_is_within(one, levels - 1) for one in inner if isinstance(one, Mapping | list))


def _parse_feeds(info: object) -> tuple[tuple[str, tuple[str, ...]], ...]:
    connectors = info.get("output_connectors") if isinstance(info, dict) else None
    found: dict[str, list[str]] = {}
    for key, config in connectors.items() if isinstance(connectors, dict) else ():
        relation = config.get("stream") if isinstance(config, dict) else None
        if isinstance(key, str) and isinstance(relation, str):
            found.setdefault(relation, []).append(key.removeprefix(f"{relation}."))
    return tuple((relation, tuple(sorted(names))) for relation, names in sorted(found.items()))
