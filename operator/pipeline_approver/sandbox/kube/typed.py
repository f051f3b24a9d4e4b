"""The schemas of built-in kinds, and the rules that the real server has beyond them."""

import base64
import re
from typing import Any

from pipeline_approver.sandbox.kube.errors import Cause, invalid_value
from pipeline_approver.sandbox.kube.kinds import Object
from pipeline_approver.sandbox.kube.schema import Schema

_STRING = {"type": "string"}
_INTEGER = {"type": "integer", "format": "int32"}
_TIME = {"type": "string", "format": "date-time"}
_MICRO_TIME = {"type": "string", "format": "micro-time"}
_BYTES = {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}}
_STRINGS = {"type": "object", "additionalProperties": _STRING}
_BOOLEAN = {"type": "boolean"}
_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")


def _of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _strings(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, _STRING)


_REFERENCE = _of(**_strings("apiVersion", "kind", "namespace", "name", "uid", "resourceVersion", "fieldPath"))

SECRET = Schema(
    {
        "description": "Secret holds secret data of a certain type.",
        **_of(data=_BYTES, stringData=_STRINGS, type=_STRING, immutable=_BOOLEAN),
    }
)
CONFIG_MAP = Schema(
    {
        "description": "ConfigMap holds configuration data for pods to consume.",
        **_of(data=_STRINGS, binaryData=_BYTES, immutable=_BOOLEAN),
    }
)
SERVICE_ACCOUNT = Schema(
    {
        "description": "ServiceAccount binds together a name, an identity, and secrets.",
        **_of(
            automountServiceAccountToken=_BOOLEAN,
            secrets={"type": "array", "items": _REFERENCE},
            imagePullSecrets={"type": "array", "items": _of(name=_STRING)},
        ),
    }
)
NAMESPACE = Schema(
    {
        "description": "Namespace provides a scope for Names.",
        **_of(
            spec=_of(finalizers={"type": "array", "items": _STRING}),
            status=_of(phase=_STRING, conditions={"type": "array", "items": _OPEN}),
        ),
    }
)
EVENT = Schema(
    {
        "description": "Event is a report of an event somewhere in the cluster.",
        **_of(
            **_strings("reason", "message", "type", "action", "reportingComponent", "reportingInstance"),
            involvedObject=_REFERENCE,
            related=_REFERENCE,
            source=_of(component=_STRING, host=_STRING),
            count=_INTEGER,
            firstTimestamp=_TIME,
            lastTimestamp=_TIME,
            eventTime=_MICRO_TIME,
            series=_of(count=_INTEGER, lastObservedTime=_MICRO_TIME),
        ),
    }
)
LEASE = Schema(
    {
        "description": "Lease defines a lease concept.",
        **_of(
            spec=_of(
                holderIdentity=_STRING,
                leaseDurationSeconds=_INTEGER,
                acquireTime=_MICRO_TIME,
                renewTime=_MICRO_TIME,
                leaseTransitions=_INTEGER,
                strategy=_STRING,
                preferredHolder=_STRING,
            )
        ),
    }
)


def adjust_secret(secret: Object) -> Object:
    """Text becomes bytes; a type there always is."""
    data = dict(secret.get("data") or {})
    for key, value in (secret.get("stringData") or {}).items():
        data[key] = base64.b64encode(value.encode()).decode()
    rest = {key: value for key, value in secret.items() if key not in ("data", "stringData")}
    return {**rest, **({"data": data} if data else {}), "type": secret.get("type") or "Opaque"}


def complete_namespace(namespace: Object) -> Object:
    """A namespace is active as soon as it is there."""
    return {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}, **namespace}


def check_secret(old: Object | None, new: Object) -> list[Cause]:
    """Keys are file names, and the type stays."""
    causes = _check_keys(new)
    if old is not None and old.get("type") != new.get("type"):
        causes.append(invalid_value("type", f'"{new.get("type")}"', "field is immutable"))
    return causes


def check_config_map(_: Object | None, new: Object) -> list[Cause]:
    """Keys are file names."""
    return _check_keys(new)


def check_event(_: Object | None, new: Object) -> list[Cause]:
    """An event is in the namespace of its object; those of cluster-scoped ones are in `default`."""
    given = (new.get("involvedObject") or {}).get("namespace", "")
    here = new["metadata"]["namespace"]
    if given == here or (not given and here in ("default", "kube-system")):
        return []
    return [invalid_value("involvedObject.namespace", f'"{given}"', "does not match event.namespace")]


def check_lease(_: Object | None, new: Object) -> list[Cause]:
    """A lease lasts some time, and changes hands forwards."""
    spec = new.get("spec") or {}
    causes = []
    if spec.get("leaseDurationSeconds", 1) <= 0:
        shown = str(spec["leaseDurationSeconds"])
        causes.append(invalid_value("spec.leaseDurationSeconds", shown, "must be greater than 0"))
    if spec.get("leaseTransitions", 0) < 0:
        shown = str(spec["leaseTransitions"])
        causes.append(invalid_value("spec.leaseTransitions", shown, "must be greater than or equal to 0"))
    return causes


def _check_keys(new: Object) -> list[Cause]:
    keys = [*(new.get("data") or {}), *(new.get("binaryData") or {})]
    return [
        invalid_value(
            f"data[{key}]", f'"{key}"', "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        )
        for key in keys
        if _DATA_KEY.fullmatch(key) is None
    ]
