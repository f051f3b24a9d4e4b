"""Who asks, and whether he may. Users are what they say they are: this server is for loopback only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from pipeline_approver.sandbox.kube import errors
from pipeline_approver.sandbox.kube.calls import Call
from pipeline_approver.sandbox.kube.errors import ApiError

TOKEN_PREFIX = "user:"  # noqa: S105 -- no secret: what follows is the name
ANONYMOUS = "system:anonymous"

Allow = Callable[[str, str, str, str, str, str | None, str | None], bool]
"""(user, verb, group, resource, subresource, namespace, name) to whether it is allowed."""


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str
    groups: tuple[str, ...]


def identify(request: web.Request) -> User:
    """The user of a request: whom it impersonates, else whom its bearer token names. Raises 401."""
    user = _bearer(request)
    impersonated = request.headers.get("Impersonate-User")
    if impersonated is None:
        return user
    return User(impersonated, (*request.headers.getall("Impersonate-Group", ()), "system:authenticated"))


def _bearer(request: web.Request) -> User:
    header = request.headers.get("Authorization")
    if header is None:
        return User(ANONYMOUS, ("system:unauthenticated",))
    token = header.removeprefix("Bearer ")
    if not token.startswith(TOKEN_PREFIX) or token == TOKEN_PREFIX:
        raise ApiError(401, "Unauthorized")
    return User(token.removeprefix(TOKEN_PREFIX), ("system:authenticated",))


def authorize(allow: Allow | None, user: User, call: Call) -> None:
    """Raise 403 in the words of the real server."""
    if allow is None or not call.plural:
        return
    if allow(user.name, call.verb, call.group, call.plural, call.subresource, call.namespace, call.name):
        return
    qualified = f"{call.plural}.{call.group}" if call.group else call.plural
    named = f'{qualified} "{call.name}"' if call.name else qualified
    where = "at the cluster scope" if call.namespace is None else f'in the namespace "{call.namespace}"'
    raise ApiError(
        403,
        f'{named} is forbidden: User "{user.name}" cannot {call.verb} resource "{call.resource}" in API group'
        f' "{call.group}" {where}',
        details={
            **({"name": call.name} if call.name else {}),
            **({"group": call.group} if call.group else {}),
            "kind": call.plural,
        },
    )


def review_access(allow: Allow | None, user: User, review: dict[str, Any]) -> dict[str, Any]:
    """Answer a SelfSubjectAccessReview."""
    spec = review.get("spec") or {}
    asked = spec.get("resourceAttributes")
    is_allowed = True
    if asked is not None and allow is not None:
        verb, group, resource, sub = (asked.get(key) or "" for key in ("verb", "group", "resource", "subresource"))
        is_allowed = allow(
            user.name, verb, group, resource, sub, asked.get("namespace") or None, asked.get("name") or None
        )
    head = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}}
    return {**head, "spec": spec, "status": {"allowed": is_allowed}}


def review_self(user: User) -> dict[str, Any]:
    """Answer a SelfSubjectReview."""
    head = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}}
    return {**head, "status": {"userInfo": {"username": user.name, "groups": list(user.groups)}}}


def answer_review(allow: Allow | None, user: User, call: Call, review: dict[str, Any]) -> dict[str, Any]:
    """One of the two reviews about oneself, which everybody may make."""
    match call.group, call.version, call.plural:
        case "authorization.k8s.io", "v1", "selfsubjectaccessreviews":
            return review_access(allow, user, review)
        case "authentication.k8s.io", "v1", "selfsubjectreviews":
            return review_self(user)
    raise errors.no_such_path()
