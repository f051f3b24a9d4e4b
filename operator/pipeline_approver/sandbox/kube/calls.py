"""What a request asks for, read from its method, path and query alone."""

from dataclasses import dataclass

from aiohttp import web

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_OF_NAMESPACES = ("status", "finalize")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request for resources; or, with an empty `plural`, for something else."""

    verb: str
    group: str = ""
    version: str = ""
    plural: str = ""
    subresource: str = ""
    namespace: str | None = None
    """None: all namespaces, or a cluster-scoped kind."""
    name: str | None = None

    @property
    def resource(self) -> str:
        """As counts, faults and messages name it: `pipelines` or `pipelines/status`."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


def read_call(request: web.Request) -> Call:
    """The call that a request makes."""
    parts = [part for part in request.path.split("/") if part]
    match parts:
        case ["api", version, *rest] if rest:
            group = ""
        case ["apis", group, version, *rest] if rest:
            pass
        case _:
            return Call(verb=request.method.lower())
    namespace = None
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in _OF_NAMESPACES:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest, "", "")[:3]
    return Call(
        verb=_verb(request, name),
        group=group,
        version=version,
        plural=plural,
        subresource=subresource,
        namespace=namespace,
        name=name or None,
    )


def is_true(request: web.Request, parameter: str) -> bool:
    """Whether a query parameter says yes."""
    return request.query.get(parameter, "") in ("true", "1")


def _verb(request: web.Request, name: str) -> str:
    if request.method in ("GET", "HEAD"):
        if is_true(request, "watch"):
            return "watch"
        return "get" if name else "list"
    if request.method == "DELETE" and not name:
        return "deletecollection"
    return _VERBS.get(request.method, request.method.lower())
