"""Bodies in protobuf: kubectl's typed commands (create secret, create namespace, auth can-i, …) send nothing else.

Only what those commands put into a body is read; a kind that is not known here is refused, with the way around it.
"""

import base64
from collections.abc import Callable
from typing import Any

from pipeline_approver.sandbox.kube.errors import ApiError
from pipeline_approver.sandbox.kube.kinds import Object

_MAGIC = b"k8s\0"
_VARINT, _BYTES = 0, 2
_ATTRIBUTES = ("namespace", "verb", "group", "version", "resource", "subresource", "name")

Message = dict[int, list[Any]]


def decode(data: bytes) -> Object:
    """The object in a body; raises 415."""
    if not data.startswith(_MAGIC):
        raise ApiError(415, "the body is not Kubernetes' protobuf")
    try:
        envelope = _parse(data[len(_MAGIC) :])
        kind = _parse(envelope[1][0])
        body = _parse(envelope[2][0]) if envelope.get(2) else {}
        name = _text(kind, 2)
        head = {"apiVersion": _text(kind, 1), "kind": name}
        if name not in _KINDS:
            raise ApiError(415, f"{name} is not understood as protobuf here; send JSON")
        return {**head, **_KINDS[name](body)}
    except (IndexError, KeyError, UnicodeDecodeError):
        raise ApiError(415, "the body is not Kubernetes' protobuf") from None


def _parse(data: bytes) -> Message:
    """The fields of a message by number, each with all its values."""
    fields: Message = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while at < len(data):
        tag = varint()
        if tag & 7 == _VARINT:
            fields.setdefault(tag >> 3, []).append(varint())
        elif tag & 7 == _BYTES:
            length = varint()
            fields.setdefault(tag >> 3, []).append(data[at : at + length])
            at += length
        else:
            raise ApiError(415, "the body is not Kubernetes' protobuf")
    return fields


def _text(message: Message, number: int) -> str:
    return str(message[number][0].decode()) if message.get(number) else ""


def _pairs(message: Message, number: int, read: Callable[[bytes], str] = bytes.decode) -> dict[str, str]:
    pairs = (_parse(item) for item in message.get(number, ()))
    return {_text(pair, 1): read(pair[2][0]) if pair.get(2) else "" for pair in pairs}


def _metadata(body: Message) -> Object:
    message = _parse(body[1][0]) if body.get(1) else {}
    found: dict[str, Any] = {
        "name": _text(message, 1),
        "generateName": _text(message, 2),
        "namespace": _text(message, 3),
        "labels": _pairs(message, 11),
        "annotations": _pairs(message, 12),
    }
    return {"metadata": {key: value for key, value in found.items() if value}}


def _secret(body: Message) -> Object:
    data = _pairs(body, 2, lambda value: base64.b64encode(value).decode())
    return {**_metadata(body), "data": data, "type": _text(body, 3) or "Opaque"}


def _config_map(body: Message) -> Object:
    return {**_metadata(body), "data": _pairs(body, 2)}


def _access_review(body: Message) -> Object:
    spec = _parse(body[2][0])
    if not spec.get(1):
        return {**_metadata(body), "spec": {}}
    attributes = _parse(spec[1][0])
    asked = {key: _text(attributes, number) for number, key in enumerate(_ATTRIBUTES, 1)}
    return {**_metadata(body), "spec": {"resourceAttributes": asked}}


def _delete_options(_: Message) -> Object:
    return {}


_KINDS: dict[str, Callable[[Message], Object]] = {
    "Secret": _secret,
    "ConfigMap": _config_map,
    "Namespace": _metadata,
    "ServiceAccount": _metadata,
    "SelfSubjectAccessReview": _access_review,
    "SelfSubjectReview": _metadata,
    "DeleteOptions": _delete_options,
}
