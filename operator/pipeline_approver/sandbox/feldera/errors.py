"""Feldera's error answers: a JSON body with `message`, `error_code` and `details`.

One exception carries them all from the rules to the HTTP routes. Errors of the manager with status 503 bring
`Retry-After: 5`; those that the pipeline process itself answers do not.
"""

from typing import Any

from aiohttp import web

RETRY_AFTER_SECONDS = 5


class ApiError(Exception):
    """An answer that is not a success: HTTP status, error code, message, details."""

    def __init__(
        self, status: int, code: str, message: str, *, details: Any = None, retry_after: int | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        return {"message": self.message, "error_code": self.code, "details": self.details}

    def response(self) -> web.Response:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return web.json_response(self.body(), status=self.status, headers=headers)


def unknown_name(name: str) -> ApiError:
    return ApiError(404, "UnknownPipelineName", f"Unknown pipeline name '{name}'", details={"pipeline_name": name})


def bad_request(code: str, message: str, *, details: Any = None) -> ApiError:
    return ApiError(400, code, message, details=details)


def invalid_bootstrap() -> ApiError:
    return bad_request(
        "InvalidBootstrapConfig",
        "Invalid bootstrap configuration: silent_bootstrap and concurrent_bootstrap are mutually exclusive",
    )


def not_deployed(name: str, *, status: str, desired: str) -> ApiError:
    return ApiError(
        503,
        "PipelineInteractionNotDeployed",
        f"Unable to interact with pipeline because the deployment status ({status.lower()}) indicates it is not"
        f' (yet) fully provisioned pipeline-id=N/A pipeline-name="{name}"',
        details={"pipeline_name": name, "status": status, "desired_status": desired},
        retry_after=RETRY_AFTER_SECONDS,
    )


def unavailable(name: str, path: str) -> ApiError:
    reason = "deployment status is currently 'unavailable' -- wait for it to become 'running' or 'paused' again"
    return _interaction("PipelineUnavailable", name, path, reason)


def unreachable(name: str, path: str, *, reason: str = "Failed to connect to host") -> ApiError:
    return _interaction("PipelineInteractionUnreachable", name, path, reason)


def _interaction(code: str, name: str, path: str, reason: str) -> ApiError:
    return ApiError(
        503,
        code,
        f"Error sending HTTP request to pipeline: {reason} Failed request: {path}"
        f' pipeline-id=N/A pipeline-name="{name}"',
        details={"pipeline_name": name, "request": path, "error": reason},
        retry_after=RETRY_AFTER_SECONDS,
    )


def initializing() -> ApiError:
    """Answered by the pipeline process itself, hence without Retry-After."""
    return ApiError(503, "Initializing", "Operation failed because the pipeline is still initializing.")


def enterprise_only(feature: str) -> ApiError:
    return ApiError(
        501,
        "EnterpriseFeature",
        f"Cannot use enterprise-only feature: {feature}. Please upgrade to the Enterprise edition.",
        details={"feature": feature},
    )


def illegal_action(*, status: str, current: str, new: str, hint: str) -> ApiError:
    return bad_request(
        "IllegalPipelineAction",
        f"Deployment resources status (current: '{status}', desired: '{current}') cannot have desired changed to"
        f" '{new}'. {hint}",
        details={"status": status, "current_desired_status": current, "new_desired_status": new, "hint": hint},
    )


def initialization_error(cause: str) -> dict[str, Any]:
    """The `deployment_error` of a pipeline whose circuit could not be set up."""
    return {
        "message": f"Error initializing the pipeline: {cause}",
        "error_code": "InitializationError",
        "details": {"error": cause},
    }
