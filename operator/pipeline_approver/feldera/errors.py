"""What can go wrong between the operator and Feldera.

    FelderaError
    ├── NotReached     nothing was sent: DNS, refused connection, TLS, connect timeout   safe to try again
    ├── Unauthorized   401, or no token at hand; a database failure looks the same        safe, slowly
    ├── Forbidden      403: the key's role is too small                                   safe, slowly
    ├── NotFound       404 UnknownPipelineName: there is no such pipeline                 final
    ├── NotReady       503 that says that nothing was done                                safe
    ├── Throttled      429                                                                safe, after a pause
    ├── Unsupported    501: not in this edition                                           final
    ├── Refused        any other clean no                                                 final
    ├── BadAnswer      not Feldera's: what a GET got, or the no of a proxy                safe
    │   └── Unreadable     too large or broken as a whole; parts of it may be readable    safe
    └── Ambiguous      timeouts, broken connections, other 5xx, 2xx that says something
                       else: may have been carried out                                    only after reading

`applied` is False where a call certainly had no effect, and None where it may have had one. Messages are stable: the
same failure gives the same text, without addresses, timings or ids, and never a secret.
"""

import re

MESSAGE_LENGTH = 500

# What changes from one failure to the next, or tells where things are. A message that changes with every poll would
# be written into every status with every poll.
_UNSTEADY = re.compile(
    r"""\bhttps?://[\w\[%][^\s"'<>()]*
    |\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b
    |\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[\d.,]*(?:Z|[+-]\d\d:?\d\d)?
    |(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\w.])
    |\[[0-9a-f:.]*:[0-9a-f:.]*\](?::\d+)?
    |\b0x[0-9a-f]+\b
    |\b\d+(?:\.\d+)?\s?(?:ns|us|µs|ms|s|secs?|seconds?)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)


class FelderaError(Exception):
    """A failed request."""

    applied: bool | None = False

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(clean(message))
        self.reason = reason or type(self).__name__
        """CamelCase, for a condition."""
        self.status = status
        """The HTTP status, where there was an answer."""
        self.code = code
        """Feldera's `error_code`."""
        self.retry_after = retry_after
        """Seconds that the server asks to wait."""


class NotReached(FelderaError):
    """Nothing was sent."""


class Unauthorized(FelderaError):
    """The key or token is not accepted, or there is none."""


class Forbidden(FelderaError):
    """The role of the key does not suffice."""


class NotFound(FelderaError):
    """There is no such pipeline."""


class NotReady(FelderaError):
    """The pipeline cannot take the call now; nothing was done."""


class Throttled(FelderaError):
    """Too many requests; nothing was done."""


class Unsupported(FelderaError):
    """This edition has no such thing."""


class Refused(FelderaError):
    """A clean no; the same call would be refused again."""


class BadAnswer(FelderaError):
    """An answer that is not Feldera's."""


class Unreadable(BadAnswer):
    """An answer that is too large, or broken, as a whole."""


class Ambiguous(FelderaError):
    """The call may have been carried out."""

    applied = None


def clean(text: str) -> str:
    """Bounded, on one line, without control characters, and the same for the same failure."""
    printable = "".join(c if c.isprintable() else " " for c in text[: 4 * MESSAGE_LENGTH])
    words = _UNSTEADY.sub("…", " ".join(printable.split()))
    return words if len(words) <= MESSAGE_LENGTH else words[: MESSAGE_LENGTH - 1] + "…"
