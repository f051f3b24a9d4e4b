"""Flux's health checks by CEL expressions, as in `spec.healthCheckExprs` of a Kustomization (its RFC 0009)."""

from typing import Any

from cel_expr_python import cel

from support import kstatus

UNKNOWN = "Unknown"
_ENVIRONMENT = cel.NewEnv(variables=dict.fromkeys(("apiVersion", "kind", "metadata", "spec", "status"), cel.Type.DYN))


def judge(expressions: dict[str, str], manifest: dict[str, Any]) -> str:
    """The status of a resource; Unknown where an expression fails, which Flux waits through."""
    if kstatus.lags(manifest):
        return kstatus.IN_PROGRESS
    words = {"inProgress": kstatus.IN_PROGRESS, "failed": kstatus.FAILED, "current": kstatus.CURRENT}
    for key, word in words.items():
        if key not in expressions:
            continue
        # The variables are the top-level fields that the resource has.
        answer = _ENVIRONMENT.compile(expressions[key]).eval(data=manifest)
        if answer.type() != cel.Type.BOOL:
            return UNKNOWN
        if answer.value():
            return word
    return kstatus.IN_PROGRESS
