"""A Pipeline as the operator sees it: frozen values made from a manifest."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline_approver.core import reading
from pipeline_approver.core.change import Outputs, clip
from pipeline_approver.core.status import By, Status
from pipeline_approver.core.statusjson import parse_status
from pipeline_approver.core.times import Moment, parse_time
from pipeline_approver.core.tokens import NO_TOKEN, Token, parse_token

GROUP = "pipeline-approver.io"
VERSION = "v1alpha1"
PLURAL = "pipelines"
KIND = "Pipeline"

APPROVE = "approve"
REJECT = "reject"

REASON_LENGTH = 512
USER_LENGTH = 253


class CheckpointMode(enum.StrEnum):
    """`spec.checkpoint`."""

    AFTER_BOOTSTRAP = "AfterBootstrap"
    NEVER = "Never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One Pipeline at one resource version. Field by field: `crds/pipelines.yaml`."""

    uid: str
    namespace: str
    name: str
    resource_version: str = ""
    generation: int = 0
    created_at: Moment | None = None
    deleting: bool = False

    pipeline_name: str
    secret_name: str | None = None
    """The connection Secret in the same namespace; None means the operator's own connection."""
    outputs: Outputs | None = None
    checkpoint: CheckpointMode = CheckpointMode.AFTER_BOOTSTRAP
    suspend: bool = False

    approve: Token = NO_TOKEN
    reject: Token = NO_TOKEN
    reason: str = ""
    approved_by: str = ""
    managers: tuple[tuple[str, str], ...] = ()
    """Which field manager set `approve` and `reject`, as pairs."""

    status: Status = field(default_factory=Status)

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    def who(self, annotation: str) -> By:
        """Who decided by an annotation: the name in `approved-by`, and the field manager that wrote the annotation."""
        return By(via="Annotation", user=self.approved_by, manager=dict(self.managers).get(annotation, ""))


def parse_resource(manifest: Mapping[str, Any]) -> Resource:
    """Read a Pipeline manifest from the API server.

    The API server has checked it against the CRD. Should a server without that check let something else through,
    a field that makes no sense counts as absent.
    """
    metadata = manifest["metadata"]
    annotations, spec = reading.mapping(metadata.get("annotations")), reading.mapping(manifest.get("spec"))
    secret = spec.get("connectionSecretRef")
    outputs = spec.get("outputs")
    return Resource(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        resource_version=reading.text(metadata.get("resourceVersion")),
        generation=reading.integer(metadata.get("generation")) or 0,
        created_at=parse_time(metadata.get("creationTimestamp")),
        deleting=bool(metadata.get("deletionTimestamp")),
        pipeline_name=reading.text(spec.get("pipelineName")) or metadata["name"],
        # An empty reference must not fall back to the operator's own connection: it stays a (missing) Secret.
        secret_name=None if secret is None else reading.text(reading.mapping(secret).get("name")),
        outputs=Outputs(outputs) if outputs in list(Outputs) else None,
        checkpoint=CheckpointMode.NEVER
        if spec.get("checkpoint") == CheckpointMode.NEVER.value
        else CheckpointMode.AFTER_BOOTSTRAP,
        suspend=spec.get("suspend") is True,
        approve=parse_token(annotations.get(f"{GROUP}/{APPROVE}")),
        reject=parse_token(annotations.get(f"{GROUP}/{REJECT}")),
        reason=clip(reading.text(annotations.get(f"{GROUP}/reason")), REASON_LENGTH),
        approved_by=clip(reading.text(annotations.get(f"{GROUP}/approved-by")), USER_LENGTH),
        managers=_find_managers(metadata.get("managedFields")),
        status=parse_status(manifest.get("status")),
    )


def _find_managers(entries: object) -> tuple[tuple[str, str], ...]:
    found = {}
    for entry in map(reading.mapping, reading.items(entries)):
        fields = reading.mapping(entry.get("fieldsV1"))
        owned = reading.mapping(reading.mapping(fields.get("f:metadata")).get("f:annotations"))
        for annotation in (APPROVE, REJECT):
            if f"f:{GROUP}/{annotation}" in owned:
                found[annotation] = clip(reading.text(entry.get("manager")), USER_LENGTH)
    return tuple(found.items())
