"""What can go wrong between the operator and the Kubernetes API.

KubeError
├── Conflict      409: the object is not as it was read; read it again and decide anew
├── NotFound      404
├── Gone          410: a list cannot be continued; start it again
├── Forbidden     403: a permission is missing; the message is the server's and names it
├── Invalid       400, 422: the server does not take what was sent
└── Unavailable   429, 5xx, timeouts, broken connections, answers that are not Kubernetes':
                  try again later; a write may have been made, and its condition tells
"""

from pipeline_approver.core.change import clip

MESSAGE_LENGTH = 500


class KubeError(Exception):
    """A failed request, or a configuration that allows none."""

    def __init__(
        self, message: str, *, status: int | None = None, reason: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(clip(message, MESSAGE_LENGTH))
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class Conflict(KubeError):
    """Somebody else changed the object."""


class NotFound(KubeError):
    """It does not exist."""


class Gone(KubeError):
    """It is too old."""


class Forbidden(KubeError):
    """The account may not."""


class Invalid(KubeError):
    """The server does not take it."""


class Unavailable(KubeError):
    """Not now."""


BY_STATUS: dict[int, type[KubeError]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
}
