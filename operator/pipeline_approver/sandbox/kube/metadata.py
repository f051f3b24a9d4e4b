"""The rules about metadata that hold for every kind."""

import re
from typing import Any

from pipeline_approver.sandbox.kube import validation
from pipeline_approver.sandbox.kube.errors import ApiError, Cause, forbidden_value, invalid_value, required
from pipeline_approver.sandbox.kube.kinds import Object

MOST_ANNOTATION_BYTES = 256 * 1024
SERVER_OWNED = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "selfLink",
)

_STRING = {"type": "string", "nullable": True}
_STRINGS = {"type": "object", "nullable": True, "additionalProperties": {"type": "string"}}
_OBJECTS = {"type": "array", "nullable": True, "items": {"type": "object"}}
_PROPERTIES: dict[str, Any] = {
    **dict.fromkeys(("name", "generateName", "namespace", "uid", "resourceVersion", "selfLink"), _STRING),
    **{key: {**_STRING, "format": "date-time"} for key in ("creationTimestamp", "deletionTimestamp")},
    **{key: {"type": "integer", "nullable": True} for key in ("generation", "deletionGracePeriodSeconds")},
    **dict.fromkeys(("labels", "annotations"), _STRINGS),
    **dict.fromkeys(("ownerReferences", "managedFields"), _OBJECTS),
    "finalizers": {"type": "array", "nullable": True, "items": {"type": "string"}},
}
_CHECK = validation.compile_check({"type": "object", "properties": _PROPERTIES})
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_QUALIFIED_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_MOST_NAME_LENGTH = 253


def read_metadata(manifest: Object) -> dict[str, Any]:
    """A copy of the metadata of what somebody sent, without unknown fields; raises 400 when it is none."""
    sent = manifest.get("metadata")
    causes: list[Cause] = []
    if sent is not None:
        _CHECK(sent, "metadata", causes)
    if causes:
        raise ApiError(400, f"the metadata cannot be read: {causes[0]}")
    metadata = {key: value for key, value in (sent or {}).items() if value is not None and key in _PROPERTIES}
    for key in ("labels", "annotations", "finalizers", "ownerReferences"):
        if not metadata.get(key, True):
            del metadata[key]
    return metadata


def check_metadata(metadata: dict[str, Any]) -> list[Cause]:
    """What is wrong with the parts that users write."""
    causes: list[Cause] = []
    name = metadata["name"]
    if len(name) > _MOST_NAME_LENGTH or _SUBDOMAIN.fullmatch(name) is None:
        causes.append(
            invalid_value(
                "metadata.name",
                f'"{name}"',
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and"
                " must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is"
                " '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            )
        )
    for key, value in (metadata.get("labels") or {}).items():
        if not _is_qualified(key):
            causes.append(invalid_value("metadata.labels", f'"{key}"', "name part must be a qualified name"))
        if _LABEL_VALUE.fullmatch(value) is None:
            causes.append(
                invalid_value(
                    "metadata.labels",
                    f'"{value[:63]}"',
                    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.',"
                    " and must start and end with an alphanumeric character",
                )
            )
    annotations = metadata.get("annotations") or {}
    causes += [
        invalid_value("metadata.annotations", f'"{key}"', "name part must be a qualified name")
        for key in annotations
        if not _is_qualified(key.lower())
    ]
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > MOST_ANNOTATION_BYTES:
        message = f"Too long: may not be more than {MOST_ANNOTATION_BYTES} bytes"
        causes.append(Cause("metadata.annotations", "FieldValueTooLong", message))
    for number, reference in enumerate(metadata.get("ownerReferences") or ()):
        missing = [key for key in ("apiVersion", "kind", "name", "uid") if not reference.get(key)]
        causes += [required(f"metadata.ownerReferences[{number}].{key}") for key in missing]
    return causes


def check_finalizers(old: dict[str, Any], new: dict[str, Any]) -> list[Cause]:
    """An object that is going may lose finalizers, and gets no new ones."""
    if not old.get("deletionTimestamp"):
        return []
    added = set(new.get("finalizers") or ()) - set(old.get("finalizers") or ())
    if not added:
        return []
    return [
        forbidden_value(
            "metadata.finalizers",
            "no new finalizers can be added if the object is being deleted, found new finalizers"
            f" []string{{{', '.join(sorted(added))}}}",
        )
    ]


def keep_server_owned(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Set what only the server writes to what it was."""
    for key in SERVER_OWNED:
        if key in old:
            new[key] = old[key]
        else:
            new.pop(key, None)


def _is_qualified(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and (_SUBDOMAIN.fullmatch(prefix) is None or len(prefix) > _MOST_NAME_LENGTH):
        return False
    return _QUALIFIED_NAME.fullmatch(name) is not None
