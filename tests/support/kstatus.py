"""kstatus: how Flux, kpt and `cli-utils` judge any resource that they know nothing about.

Written down from the rules of sigs.k8s.io/cli-utils (pkg/kstatus/status): generic ones, then the Ready condition.
"""

from typing import Any

IN_PROGRESS, FAILED, CURRENT, TERMINATING = "InProgress", "Failed", "Current", "Terminating"


def judge(manifest: dict[str, Any]) -> str:
    """The status of a resource, as `status.Compute` finds it."""
    metadata, status = manifest["metadata"], manifest.get("status", {})
    if metadata.get("deletionTimestamp"):
        return TERMINATING
    if lags(manifest):
        return IN_PROGRESS
    conditions = status.get("conditions", [])
    for condition in conditions:
        # In the order in which they stand: the first one that is True decides.
        if condition["status"] == "True" and condition["type"] in ("Reconciling", "Stalled"):
            return IN_PROGRESS if condition["type"] == "Reconciling" else FAILED
    for condition in conditions:
        if condition["type"] == "Ready":
            return CURRENT if condition["status"] == "True" else IN_PROGRESS
    return CURRENT


def lags(manifest: dict[str, Any]) -> bool:
    """Whether the status says that it speaks of another generation."""
    observed = manifest.get("status", {}).get("observedGeneration")
    return observed is not None and observed != manifest["metadata"]["generation"]
