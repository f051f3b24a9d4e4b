"""What is served: /api, /apis, /version and the probes."""

from typing import Any

from pipeline_approver.sandbox.kube import errors
from pipeline_approver.sandbox.kube.kinds import Kind
from pipeline_approver.sandbox.kube.store import Store

VERSION = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.0+sandbox",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "go1.24",
    "compiler": "gc",
    "platform": "linux/amd64",
}
PROBES = frozenset({"readyz", "healthz", "livez"})
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_REVIEWS = {
    "authentication.k8s.io/v1": ("selfsubjectreviews", "SelfSubjectReview"),
    "authorization.k8s.io/v1": ("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
}


def answer(store: Store, parts: list[str]) -> dict[str, Any]:
    """The document at a path; raises 404."""
    match parts:
        case []:
            return {"paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]}
        case ["version"]:
            return VERSION
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            listed = [_group(name, versions) for name, versions in _groups(store).items()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        case ["apis", name] if name in (groups := _groups(store)):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, groups[name])}
        case ["api", version]:
            return _resources(store, version)
        case ["apis", name, version]:
            return _resources(store, f"{name}/{version}")
    raise errors.no_such_path()


def kinds_of(store: Store, api_version: str) -> list[Kind]:
    """The kinds of one group and version."""
    return [c.kind for c in store.collections.values() if c.kind.api_version == api_version]


def _groups(store: Store) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    served = [collection.kind.api_version for collection in store.collections.values()]
    for api_version in [*served, *_REVIEWS]:
        group, slash, version = api_version.rpartition("/")
        if slash and version not in groups.setdefault(group, []):
            groups[group].append(version)
    return groups


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def _resources(store: Store, api_version: str) -> dict[str, Any]:
    resources = [entry for kind in kinds_of(store, api_version) for entry in _entries(kind)]
    if api_version in _REVIEWS:
        plural, kind = _REVIEWS[api_version]
        resources.append(
            {"name": plural, "singularName": kind.lower(), "namespaced": False, "kind": kind, "verbs": ["create"]}
        )
    if not resources:
        raise errors.no_such_path()
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources}


def _entries(kind: Kind) -> list[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(_VERBS),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if not kind.has_status:
        return [entry]
    status = {
        "name": f"{kind.plural}/status",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": ["get", "patch", "update"],
    }
    return [entry, status]
