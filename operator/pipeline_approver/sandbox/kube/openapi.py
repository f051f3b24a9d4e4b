"""OpenAPI v3 as far as kubectl reads it: which parameters a patch takes, and the schemas that `explain` shows."""

import hashlib
from typing import Any

from pipeline_approver.sandbox.kube import errors
from pipeline_approver.sandbox.kube.discovery import kinds_of
from pipeline_approver.sandbox.kube.kinds import Kind
from pipeline_approver.sandbox.kube.store import Store, dump

_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "pretty")
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_METADATA_SCHEMA = {
    "description": "ObjectMeta is metadata that all persisted resources must have.",
    "type": "object",
    "properties": {
        key: {"type": "object", "additionalProperties": {"type": "string"}} for key in ("annotations", "labels")
    }
    | {key: {"type": "string"} for key in ("name", "namespace", "generateName", "resourceVersion", "uid")},
}


def index(store: Store) -> dict[str, Any]:
    """Where the documents are; the hash changes with them, so that clients may cache."""
    paths = {}
    for prefix in dict.fromkeys(collection.kind.prefix for collection in store.collections.values()):
        text = dump(document(store, prefix))
        mark = hashlib.sha256(text).hexdigest()[:32].upper()
        paths[prefix] = {"serverRelativeURL": f"/openapi/v3/{prefix}?hash={mark}"}
    return {"paths": paths}


def document(store: Store, prefix: str) -> dict[str, Any]:
    """The document of one group and version; raises 404."""
    kinds = kinds_of(store, prefix.partition("/")[2])
    if not kinds or kinds[0].prefix != prefix:
        raise errors.no_such_path()
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "sandbox"},
        "paths": {path: item for kind in kinds for path, item in _paths(kind).items()},
        "components": {"schemas": {_META: _METADATA_SCHEMA, **{_schema_name(kind): _schema(kind) for kind in kinds}}},
    }


def _paths(kind: Kind) -> dict[str, Any]:
    namespace = "namespaces/{namespace}/" if kind.namespaced else ""
    collection = f"/{kind.prefix}/{namespace}{kind.plural}"
    reference = {"$ref": f"#/components/schemas/{_schema_name(kind)}"}
    content = {"application/json": {"schema": reference}}
    patches = ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"]
    if not kind.is_custom:
        patches.append("application/strategic-merge-patch+json")

    def operation(action: str, bodies: list[str]) -> dict[str, Any]:
        parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in _PARAMETERS]
        return {
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _gvk(kind),
            "parameters": parameters,
            "requestBody": {"content": {body: {"schema": reference} for body in bodies}, "required": True},
            "responses": {"200": {"description": "OK", "content": content}},
        }

    return {
        collection: {"post": operation("post", ["application/json"])},
        f"{collection}/{{name}}": {
            "put": operation("put", ["application/json"]),
            "patch": operation("patch", patches),
        },
    }


def _schema(kind: Kind) -> dict[str, Any]:
    source: dict[str, Any] = kind.schema.source if kind.schema is not None else {"type": "object"}
    head = {
        "apiVersion": {"type": "string", "description": "The version of the schema of this object."},
        "kind": {"type": "string", "description": "The kind of this object."},
    }
    properties = {**head, **source.get("properties", {})}
    properties["metadata"] = {
        "description": "Standard object's metadata.",
        "default": {},
        "allOf": [{"$ref": f"#/components/schemas/{_META}"}],
    }
    return {**source, "properties": properties, "x-kubernetes-group-version-kind": [_gvk(kind)]}


def _schema_name(kind: Kind) -> str:
    domain = ".".join(reversed(kind.group.split("."))) if kind.group else "io.k8s.api.core"
    return f"{domain}.{kind.version}.{kind.kind}"


def _gvk(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}
