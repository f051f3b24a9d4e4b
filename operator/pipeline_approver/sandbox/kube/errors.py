"""Refusals as a Kubernetes API server words them: one exception that renders a Status."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline_approver.sandbox.kube.kinds import Kind

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class ApiError(Exception):
    """An answer that is not a success."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str | None = None,
        details: dict[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = REASONS.get(code, "Unknown") if reason is None else reason
        self.details = details or {}
        self.retry_after = retry_after

    def status(self) -> dict[str, Any]:
        """The Status object."""
        details = self.details if self.retry_after is None else {**self.details, "retryAfterSeconds": self.retry_after}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            **({"details": details} if details else {}),
            "code": self.code,
        }


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong with one field."""

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def required(field: str, detail: str = "") -> Cause:
    return Cause(field, "FieldValueRequired", "Required value" + (f": {detail}" if detail else ""))


def invalid_value(field: str, shown: str, detail: str) -> Cause:
    return Cause(field, "FieldValueInvalid", f"Invalid value: {shown}: {detail}")


def forbidden_value(field: str, detail: str) -> Cause:
    return Cause(field, "FieldValueForbidden", f"Forbidden: {detail}")


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> ApiError:
    qualified = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    texts = [str(cause) for cause in causes]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return ApiError(
        422,
        f'{qualified} "{name}" is invalid: {listed}',
        details={
            "name": name,
            **({"group": kind.group} if kind.group else {}),
            "kind": kind.kind,
            "causes": [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes],
        },
    )


def no_such_path() -> ApiError:
    return ApiError(404, "the server could not find the requested resource")


def not_found(kind: Kind, name: str) -> ApiError:
    return ApiError(404, f'{kind.qualified} "{name}" not found', details=about(kind, name))


def already_exists(kind: Kind, name: str) -> ApiError:
    return ApiError(409, f'{kind.qualified} "{name}" already exists', reason="AlreadyExists", details=about(kind, name))


def conflict(kind: Kind, name: str, why: str) -> ApiError:
    return ApiError(
        409,
        f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}',
        details=about(kind, name),
    )


def modified(kind: Kind, name: str) -> ApiError:
    return conflict(
        kind,
        name,
        "the object has been modified; please apply your changes to the latest version and try again",
    )


def expired(message: str) -> ApiError:
    return ApiError(410, message)


def about(kind: Kind, name: str) -> dict[str, Any]:
    """The details of a Status about one object."""
    group = {"group": kind.group} if kind.group else {}
    return {**({"name": name} if name else {}), **group, "kind": kind.plural}
