"""The client of Feldera's REST API: one method per call, no retries, typed answers, typed errors."""

import email.utils
import hashlib
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from pipeline_approver.core.observation import PipelineView, Program
from pipeline_approver.feldera import errors, wire
from pipeline_approver.feldera.connection import Connection, TokenUnreadable

LARGEST_ANSWER_BYTES = 64 * 2**20
LONGEST_RETRY_AFTER_SECONDS = 300.0
EXCERPT_LENGTH = 80

_NOT_DONE = ("PipelineInteractionNotDeployed", "PipelineUnavailable", "Initializing", "EnterpriseFeature")


@dataclass(frozen=True, slots=True)
class Listing:
    """The answer to one poll."""

    views: Mapping[str, PipelineView] = field(default_factory=dict)
    """By name."""
    skipped: int = 0
    """Rows that could not be read."""
    unchanged: bool = False
    """Word for word the previous answer."""


@dataclass(frozen=True, slots=True)
class Approval:
    """The answer to an approval; documented servers name a checkpoint in it."""

    checkpoint_sequence_number: int | None = None
    incarnation: str | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A requested checkpoint: its number, and the process that the number belongs to where the server says it."""

    number: int
    incarnation: str | None = None


@dataclass(frozen=True, slots=True)
class CheckpointProgress:
    """The highest completed number, and the last failure."""

    success: int | None = None
    failed_number: int | None = None
    failure: str | None = None


class FelderaClient:
    """Speaks to one Feldera. Every method raises a FelderaError when it does not succeed."""

    def __init__(
        self,
        connection: Connection,
        *,
        timeout_seconds: float = 10,
        approve_timeout_seconds: float = 15,
        user_agent: str = "pipeline-approver",
        transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._connection = connection
        self._now = now
        self._approve_timeout = approve_timeout_seconds
        self._client = httpx.AsyncClient(
            base_url=connection.url,
            timeout=httpx.Timeout(timeout_seconds),
            verify=transport is not None or connection.build_ssl(),
            headers={"User-Agent": user_agent, "Accept": "application/json"},
            # Proxies and .netrc of the environment would send keys where nobody configured them to go.
            trust_env=False,
            follow_redirects=False,
            transport=transport,
        )
        self._listing = Listing()
        self._listing_digest = b""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def list_pipelines(self) -> Listing:
        """All pipelines of the tenant, in one request."""
        body = await self._send("GET", "/v0/pipelines", selector="status")
        digest = hashlib.blake2b(body).digest()
        if digest == self._listing_digest:
            return Listing(self._listing.views, self._listing.skipped, unchanged=True)
        rows = _read_json(body)
        if not isinstance(rows, list):
            raise _bad_answer(body)
        views: dict[str, PipelineView] = {}
        before = self._listing.views
        for view in map(wire.parse_view, rows):
            if view is not None:
                # What did not change stays the same object: cheap to compare, and one copy in memory.
                old = before.get(view.name)
                views[view.name] = old if old == view and old is not None else view
        self._listing, self._listing_digest = Listing(views, len(rows) - len(views)), digest
        return self._listing

    async def get_pipeline(self, name: str) -> PipelineView:
        """One pipeline as it is now."""
        body = await self._send("GET", _path(name), selector="status")
        view = wire.parse_view(_read_json(body))
        if view is None:
            raise _bad_answer(body)
        return view

    async def get_program(self, name: str) -> tuple[PipelineView, Program]:
        """One pipeline with the fingerprints of its program. Costly for the server: once per request."""
        body = await self._send("GET", _path(name), selector="all")
        row = _read_json(body)
        view = wire.parse_view(row)
        program = wire.parse_program(row) if isinstance(row, dict) else None
        if view is None or program is None:
            raise _bad_answer(body)
        return view, program

    async def approve(self, name: str, *, silent: bool, concurrent: bool) -> Approval:
        """Approve whatever the pipeline waits for. Feldera checks nothing: verify directly before."""
        flags = {"silent_bootstrap": silent, "concurrent_bootstrap": concurrent}
        answer = await self._act(_path(name, "approve"), **{key: str(flag).lower() for key, flag in flags.items()})
        if isinstance(answer, dict):
            return Approval(
                wire.int64(answer.get("checkpoint_sequence_number")), wire.text(answer.get("incarnation_uuid")) or None
            )
        return Approval()

    async def stop(self, name: str) -> None:
        """Stop the pipeline at once; its checkpoints stay."""
        await self._act(_path(name, "stop"), force="true")

    async def request_checkpoint(self, name: str) -> Checkpoint:
        """Ask for a checkpoint."""
        answer = await self._act(_path(name, "checkpoint"))
        number = wire.int64(answer.get("checkpoint_sequence_number")) if isinstance(answer, dict) else None
        if number is None or not isinstance(answer, dict):
            raise errors.Ambiguous("Feldera's answer to the request for a checkpoint names no checkpoint")
        return Checkpoint(number, wire.text(answer.get("incarnation_uuid")) or None)

    async def checkpoint_status(self, name: str, *, incarnation: str | None) -> CheckpointProgress:
        """How far checkpoints are. With `incarnation`: Refused (IncarnationUuidMismatch) by another process."""
        query = {"incarnation_uuid": incarnation} if incarnation else {}
        answer = _read_json(await self._send("GET", _path(name, "checkpoint_status"), **query))
        if not isinstance(answer, dict):
            raise errors.BadAnswer("Feldera's answer about checkpoints cannot be read")
        failure = answer.get("failure")
        failure = failure if isinstance(failure, dict) else {}
        return CheckpointProgress(
            success=wire.int64(answer.get("success")),
            failed_number=wire.int64(failure.get("sequence_number")),
            failure=wire.text(failure.get("error"), length=1024) or None,
        )

    async def _act(self, path: str, **query: str) -> Any:
        """POST; the answer is the parsed body, or None when it is empty."""
        body = await self._send("POST", path, **query)
        answer = _read_json(body) if body.strip() else None
        if answer is not None and not isinstance(answer, str | dict):
            answer = _NOT_JSON
        if answer is _NOT_JSON:
            raise errors.Ambiguous(f"the answer is not Feldera's: {_excerpt(body)}; is a proxy in between?")
        return answer

    async def _send(self, method: str, path: str, **query: str) -> bytes:
        """The body of a 2xx answer; anything else is an error."""
        timeout = self._approve_timeout if method == "POST" else httpx.USE_CLIENT_DEFAULT
        try:
            token = self._connection.read_token()
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with self._client.stream(method, path, params=query, headers=headers, timeout=timeout) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > LARGEST_ANSWER_BYTES:
                        raise _judge_size(method)
        except TokenUnreadable as error:
            raise errors.Unauthorized(str(error), reason="TokenFileUnreadable") from None
        except httpx.HTTPError as error:
            raise _judge_failure(error, method) from None
        except (httpx.InvalidURL, UnicodeError, httpx.StreamError):
            raise errors.NotReached("the url cannot be used", reason="UrlInvalid") from None
        if response.is_success:
            return bytes(body)
        raise self._judge_answer(response, bytes(body), method)

    def _judge_answer(self, response: httpx.Response, body: bytes, method: str) -> errors.FelderaError:
        answer = _read_json(body)
        answer = answer if isinstance(answer, dict) else {}
        status, code = response.status_code, wire.text(answer.get("error_code"), length=128) or None
        told = wire.text(answer.get("message")) or _excerpt(body)
        message = f"Feldera answers {status}{f' {code}' if code else ''}: {told}"
        kind: type[errors.FelderaError]
        if status == 401:
            kind, message = errors.Unauthorized, f"Feldera does not accept the key or token (401): {told}"
        elif status == 403:
            kind = errors.Forbidden
            message = (
                f"the key's role does not suffice (403): {told};"
                " approving needs the role write, and keys are read by default"
            )
        elif status == 404 and code == "UnknownPipelineName":
            kind = errors.NotFound
        elif status == 429:
            kind = errors.Throttled
        elif status == 501:
            kind = errors.Unsupported
        elif status == 503 and (
            code in _NOT_DONE or (code == "PipelineInteractionUnreachable" and "Failed to connect to host" in told)
        ):
            kind = errors.NotReady
        elif status >= 500 or status == 408:
            kind = errors.Ambiguous
        elif code is None:
            # Not Feldera's own no: a proxy, a redirect, or another server.
            kind, message = errors.BadAnswer, f"{message}; is this the url of a Feldera API server?"
        else:
            kind = errors.Refused
        return kind(message, status=status, code=code, retry_after=self._parse_retry_after(response))

    def _parse_retry_after(self, response: httpx.Response) -> float | None:
        value = response.headers.get("Retry-After", "")
        try:
            if value.isascii() and value.isdecimal():
                seconds = float(value)
            else:
                seconds = email.utils.parsedate_to_datetime(value).timestamp() - self._now()
        except (ValueError, TypeError, OverflowError):
            return None
        return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


_NOT_JSON = object()


def _path(name: str, *action: str) -> str:
    # Percent-encoded, and dots too: no name can leave its place in the path.
    safe = quote(name.encode("utf-8", errors="surrogatepass"), safe="").replace(".", "%2E")
    return "/".join(("/v0/pipelines", safe, *action))


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _excerpt(body: bytes) -> str:
    return repr(errors.clean(body[: 2 * EXCERPT_LENGTH].decode("utf-8", errors="replace"))[:EXCERPT_LENGTH])


def _bad_answer(body: bytes) -> errors.FelderaError:
    return errors.BadAnswer(f"the answer is not Feldera's: {_excerpt(body)}; is this the url of a Feldera API server?")


def _judge_size(method: str) -> errors.FelderaError:
    kind = errors.BadAnswer if method == "GET" else errors.Ambiguous
    return kind(f"the answer is larger than {LARGEST_ANSWER_BYTES // 2**20} MiB")


def _judge_failure(error: httpx.HTTPError, method: str) -> errors.FelderaError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            why = getattr(cause, "verify_message", "") or "handshake failed"
            if isinstance(error, httpx.ConnectError):
                return errors.NotReached(
                    f"no TLS connection: {why}; a private CA goes into ca.crt of the Secret, or FELDERA_CA_FILE",
                    reason="TLSFailed",
                )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return errors.NotReached(
            "no connection in time; is the host up, and does a NetworkPolicy allow it?", reason="ConnectTimeout"
        )
    if isinstance(error, httpx.ConnectError):
        if "Name or service not known" in str(error) or "getaddrinfo" in str(error) or "name resolution" in str(error):
            return errors.NotReached("the host of the url is not known (DNS)", reason="DNSFailed")
        return errors.NotReached(
            "the connection is refused; is Feldera running, and is the port right?", reason="ConnectionRefused"
        )
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return errors.NotReached("the url cannot be used", reason="UrlInvalid")
    what = "no answer in time" if isinstance(error, httpx.TimeoutException) else "the connection broke"
    return errors.Ambiguous(
        what, reason="TimedOut" if isinstance(error, httpx.TimeoutException) else "ConnectionBroken"
    )
