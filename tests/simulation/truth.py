"""What the documentation promises, computed again from the world as it is, without the product's code."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulation.deployments import Deployment, Diff
from simulation.kubernetes import GROUP, Change

APPROVE, REJECT = f"{GROUP}/approve", f"{GROUP}/reject"
Manifest = Mapping[str, Any]


def digest_of(deployment: Deployment, outputs: str, diff: Diff | None = None) -> str:
    """The digest in `status.request.digest`, from its description in the design; of the last diff, if none is given."""
    document = {
        "v": 1,
        "diff": diff or deployment.diff,
        "program": {
            "program_code": _fingerprint(deployment.program.code),
            "udf_rust": _fingerprint(deployment.program.udf),
            "udf_toml": "",
        },
        "outputs": outputs,
    }
    return "sha256:" + hashlib.sha256(_canonical(document)).hexdigest()


def digests_of(deployment: Deployment, outputs: str) -> set[str]:
    """The digests of all changes that a deployment has ever waited for."""
    return {digest_of(deployment, outputs, diff) for diff in deployment.diffs}


def id_of(uid: str, deployment: Deployment, digest: str) -> str:
    """The id in `status.request.id`."""
    return hashlib.sha256(_canonical([uid, deployment.pipeline_id, deployment.id, digest])).hexdigest()[:12]


def outputs_of(manifest: Manifest, deployment: Deployment) -> str:
    """`spec.outputs`, else as the pipeline was started."""
    return manifest["spec"].get("outputs") or ("Silent" if deployment.silent else "Emit")


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def _canonical(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def kind_of(token: str) -> str:
    """What an annotation value asks for."""
    if token in ("", "false"):
        return "none"
    if re.fullmatch(r"true(@.+)?", token):
        return "one shot"
    if re.fullmatch(r"[0-9a-f]{12}", token):
        return "id"
    if re.fullmatch(r"sha256:[0-9a-f]{64}", token):
        return "digest"
    return "malformed"


def token_of(manifest: Manifest, annotation: str) -> str:
    """An annotation value; unset is empty."""
    value: str = manifest["metadata"]["annotations"].get(annotation, "")
    return value


def name_of(manifest: Manifest) -> str:
    """Feldera's name for the pipeline that a Pipeline stands for."""
    name: str = manifest["spec"].get("pipelineName") or manifest["metadata"]["name"]
    return name


def key_of(manifest: Manifest) -> tuple[str, str]:
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def age_of(manifest: Manifest) -> tuple[str, str]:
    """By this the older of two Pipelines rules."""
    return manifest["metadata"]["creationTimestamp"], manifest["metadata"]["uid"]


@dataclass(slots=True)
class Record:
    """One annotation of one Pipeline: its present value, and what was used up since it last had none."""

    value: str = ""
    used: set[str] = field(default_factory=set)
    decided: list[str] = field(default_factory=list)
    """The requests that the present value decided since it was set."""


class TokenBook:
    """What every annotation has decided, and what of it is used up."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], Record] = {}

    def note(self, change: Change) -> None:
        """Look at a change of a Pipeline."""
        uid = change.manifest["metadata"]["uid"]
        for annotation in (APPROVE, REJECT):
            value = token_of(change.manifest, annotation)
            record = self._records.setdefault((uid, annotation), Record())
            if record.value != value:
                record.value, record.decided = value, []
            if kind_of(value) == "none":
                record.used.clear()

    def use(self, uid: str, annotation: str, request: str) -> str:
        """Note that the present value decided a request; the answer is why it may not have, or empty."""
        record = self._records[(uid, annotation)]
        was_used = record.value in record.used
        record.used.add(record.value)
        record.decided.append(request)
        if record.decided.count(request) > 1:
            return f"{record.value!r} decided request {request} again without being set anew"
        if kind_of(record.value) == "one shot" and was_used:
            return f"{record.value!r} was used up before it decided request {request}"
        return ""

    def spend(self, uid: str, annotation: str) -> None:
        """Note that the present value was used up without deciding anything."""
        record = self._records[(uid, annotation)]
        record.used.add(record.value)

    def is_used(self, uid: str, annotation: str) -> bool:
        """Whether the present value was used since the annotation last had none."""
        record = self._records[(uid, annotation)]
        return record.value in record.used

    def is_fresh(self, uid: str, annotation: str) -> bool:
        """Whether nothing was used since the annotation last had no value."""
        return not self._records[(uid, annotation)].used
