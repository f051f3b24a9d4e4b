"""Pipelines as users write them, for tests that judge manifests."""

from typing import Any

GROUP = "pipeline-approver.io"
WAITING, EARLIER, OTHER = "3f9a1c07be42", "81d04c11f2aa", "0123456789ab"
DIGEST = "sha256:" + "0a" * 32


def pipeline(
    *,
    name: str = "orders",
    namespace: str = "default",
    status: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    **annotations: str,
) -> dict[str, Any]:
    """A manifest; annotations without the prefix and with underscores."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if annotations:
        metadata["annotations"] = {f"{GROUP}/{key.replace('_', '-')}": value for key, value in annotations.items()}
    manifest: dict[str, Any] = {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "Pipeline",
        "metadata": metadata,
        # As the definition's defaults make it.
        "spec": {"checkpoint": "AfterBootstrap", "suspend": False, **(spec or {})},
    }
    if status is not None:
        manifest["status"] = status
    return manifest


def waiting(**more: Any) -> dict[str, Any]:
    """A status in which a request waits, after an earlier decision."""
    decision = {"requestId": EARLIER, "verdict": "Approved", "at": "2026-11-23T12:00:00Z", "outcome": "Bootstrapped"}
    request = {"id": WAITING, "digest": DIGEST, "since": "2026-11-23T13:00:00Z", "risk": "Reemits"}
    return {"state": "AwaitingApproval", "request": request, "history": [decision], **more}
