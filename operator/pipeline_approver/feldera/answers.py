"""What an answer of Feldera's, or its absence, amounts to: JSON, or one of the errors.

Whatever is between the operator and Feldera (proxies, gateways, another server on the port) may answer instead.
"""

import email.utils
import json
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import httpx

from pipeline_approver.feldera import errors, wire

NOT_JSON = object()
EXCERPT_LENGTH = 80
LONGEST_RETRY_AFTER_SECONDS = 300.0
LONGEST_NUMBER = 4000
"""Digits of a number; Python reads no longer ones."""

_NOT_DONE = ("PipelineInteractionNotDeployed", "PipelineUnavailable", "Initializing", "EnterpriseFeature")
_IS_IT_FELDERA = "is this the url of a Feldera API server?"
_SHORTEST_SECRET = 16
_TELLING = 24
"""Characters of a token by which it is recognised, also where a server has cut it."""


def redact(body: bytes, token: str | None) -> bytes:
    """A body without the token that was sent: servers and proxies echo headers into their messages."""
    if token is None or len(token) < _SHORTEST_SECRET:
        # So short a text is no secret of Feldera's, and may well be part of a name.
        return body
    start = token[:_TELLING].encode()
    if start not in body:
        return body
    return re.sub(re.escape(start) + rb"[\w.~+/=:-]*", b"[redacted]", body.replace(token.encode(), b"[redacted]"))


def read_json(body: bytes) -> Any:
    """The document, or NOT_JSON."""
    try:
        return json.loads(body)
    except RecursionError:
        return NOT_JSON
    except ValueError:
        pass
    try:
        # A number that is too long to read is no reason not to read the rest.
        return json.loads(body, parse_int=lambda digits: int(digits) if len(digits) <= LONGEST_NUMBER else None)
    except (ValueError, RecursionError):
        return NOT_JSON


def excerpt(body: bytes) -> str:
    """The beginning of a body, for a message."""
    return repr(errors.clean(body[: 2 * EXCERPT_LENGTH].decode("utf-8", errors="replace"))[:EXCERPT_LENGTH])


def is_readable(response: httpx.Response) -> bool:
    """Whether the body is encoded as it was asked for. Several layers of compression expand beyond all bounds."""
    encodings = response.headers.get_list("Content-Encoding", split_commas=True)
    return [encoding.strip().lower() for encoding in encodings] in ([], ["identity"], ["gzip"])


def judge_body(body: bytes, method: str) -> errors.FelderaError:
    """A body with status 2xx that does not say what it should."""
    if method == "POST":
        return errors.Ambiguous(f"the answer is not Feldera's: {excerpt(body)}; is a proxy in between?")
    return errors.BadAnswer(f"the answer is not Feldera's: {excerpt(body)}; {_IS_IT_FELDERA}")


def judge_list(body: bytes) -> errors.FelderaError:
    """A body with status 2xx that is no list of pipelines."""
    if body.lstrip().startswith(b"["):
        return errors.Unreadable("the list of pipelines cannot be read: it is cut, or one of its rows is broken")
    return judge_body(body, "GET")


def judge_answer(response: httpx.Response, body: bytes, *, now: float, with_token: bool) -> errors.FelderaError:
    """A status other than 2xx."""
    answer = read_json(body)
    answer = answer if isinstance(answer, dict) else {}
    status, code = response.status_code, wire.text(answer.get("error_code"), length=128) or None
    told = wire.text(answer.get("message")) or excerpt(body)
    message = f"Feldera answers {status}{f' {code}' if code else ''}: {told}"
    kind: type[errors.FelderaError]
    if status == 401:
        kind, message = errors.Unauthorized, f"Feldera does not accept the key or token (401): {told}"
        if not with_token:
            message = (
                f"Feldera wants a key or token (401), and none is configured: {told}; set api-key or FELDERA_API_KEY"
            )
    elif status == 403:
        kind = errors.Forbidden
        message = f"the key's role does not suffice (403): {told}; approving needs the role write; the default is read"
    elif status == 404 and code == "UnknownPipelineName":
        kind = errors.NotFound
    elif status == 429:
        kind = errors.Throttled
    elif status == 501 and code:
        kind = errors.Unsupported
    elif status == 503 and (
        code in _NOT_DONE or (code == "PipelineInteractionUnreachable" and "Failed to connect to host" in told)
    ):
        kind = errors.NotReady
    elif status >= 500 or status == 408:
        kind = errors.Ambiguous
    elif code is None:
        # Not Feldera's own no: a proxy, a redirect, or another server.
        kind, message = errors.BadAnswer, f"{message}; {_IS_IT_FELDERA}"
    else:
        kind = errors.Refused
    return kind(message, status=status, code=code, retry_after=parse_retry_after(response, now=now))


def parse_retry_after(response: httpx.Response, *, now: float) -> float | None:
    """Seconds to wait, from either form of the header; None when there is none, or none that can be read."""
    value = response.headers.get("Retry-After", "")
    try:
        if value.isascii() and value.isdecimal():
            seconds = float(value)
        else:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def judge_failure(error: httpx.HTTPError | OSError, *, url: str, method: str) -> errors.FelderaError:
    """No answer, or not a whole one."""
    causes = list(_causes(error))
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return errors.NotReached(
            "no connection in time; is the host up, and does a NetworkPolicy allow it?", reason="ConnectTimeout"
        )
    if isinstance(error, httpx.ConnectError):
        for cause in causes:
            if isinstance(cause, ssl.SSLError):
                return errors.NotReached(f"no TLS connection: {_explain_tls(cause)}", reason="TLSFailed")
        if any(isinstance(cause, socket.gaierror) for cause in causes):
            return errors.NotReached("the host of the url is not known (DNS)", reason="DNSFailed")
        return errors.NotReached(
            "the connection is refused; is Feldera running, and is the port right?", reason="ConnectionRefused"
        )
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return errors.NotReached("the url cannot be used", reason="UrlInvalid")
    if isinstance(error, httpx.TimeoutException):
        return errors.Ambiguous("no answer in time", reason="TimedOut")
    if isinstance(error, httpx.DecodingError):
        message = "the answer cannot be decompressed"
        return errors.BadAnswer(message) if method == "GET" else errors.Ambiguous(message)
    if isinstance(error, httpx.RemoteProtocolError) and url.startswith("http:"):
        what = "the connection broke, or the answer is not HTTP; does the url have to begin with https://?"
        return errors.Ambiguous(what, reason="ConnectionBroken")
    return errors.Ambiguous("the connection broke", reason="ConnectionBroken")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _explain_tls(error: ssl.SSLError) -> str:
    why = getattr(error, "verify_message", "")
    if not why:
        hint = "does the port speak TLS, or has the url to begin with http://?"
        return f"the handshake failed; {hint}"
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _UNTRUSTED:
        return f"{why}; a private CA goes into ca.crt of the Secret, or FELDERA_CA_FILE"
    return f"{why}; the certificate of the server has to be corrected, or the url"


_UNTRUSTED = (18, 19, 20, 21, 24, 27)
"""OpenSSL's codes for a certificate whose issuer is not trusted."""
