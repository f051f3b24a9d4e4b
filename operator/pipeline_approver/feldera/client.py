"""The client of Feldera's REST API: one method per call, no retries, typed answers, typed errors."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from pipeline_approver.core.observation import PipelineView, Program
from pipeline_approver.feldera import answers, errors, wire
from pipeline_approver.feldera.connection import Connection, TokenUnreadable

LARGEST_ANSWER_BYTES = 64 * 2**20
LONGEST_READ = 3
"""How often the timeout a GET may take as a whole, as long as something keeps coming."""


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
        on_error: Callable[[errors.FelderaError], None] = lambda error: None,
    ) -> None:
        """`on_error` is told of every failed request."""
        self._connection = connection
        self._now = now
        self._on_error = on_error
        # Seconds of silence, and seconds in all: a decision is over when its time is, whatever trickles in.
        self._limits = {
            "GET": (timeout_seconds, LONGEST_READ * timeout_seconds),
            "POST": (approve_timeout_seconds, approve_timeout_seconds),
        }
        self._client = httpx.AsyncClient(
            verify=connection.build_ssl(),
            headers={"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": "gzip"},
            # Proxies and .netrc of the environment would send keys where nobody configured them to go.
            trust_env=False,
            follow_redirects=False,
            # A cookie that no header takes would spoil all later requests; Feldera sets none.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
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
        rows = answers.read_json(body)
        if not isinstance(rows, list):
            raise self._tell(answers.judge_list(body))
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
        view = wire.parse_view(answers.read_json(body))
        if view is None or view.name != name:
            raise self._tell(answers.judge_body(body, "GET"))
        return view

    async def get_program(self, name: str) -> tuple[PipelineView, Program]:
        """One pipeline with the fingerprints of its program. Costly for the server: once per request."""
        body = await self._send("GET", _path(name), selector="all")
        row = answers.read_json(body)
        view = wire.parse_view(row)
        program = wire.parse_program(row) if isinstance(row, dict) else None
        if view is None or view.name != name or program is None:
            raise self._tell(answers.judge_body(body, "GET"))
        return view, program

    async def diff(self, name: str, *, program_code: str, runtime_version: str | None) -> str:
        """What a proposed program would change, in the form of `PipelineView.diff`.

        Compared with the configured program, not with the checkpoint. Changes nothing; has the server compile.
        """
        proposal = {"program_code": program_code, "runtime_version": runtime_version}
        body = await self._send("POST", _path(name, "diff"), proposal)
        diff = wire.parse_diff(answers.read_json(body))
        if diff is None:
            raise self._tell(answers.judge_body(body, "POST"))
        return diff

    async def approve(self, name: str, *, silent: bool, concurrent: bool) -> Approval:
        """Approve whatever the pipeline waits for. Feldera checks nothing: verify directly before."""
        flags = {"silent_bootstrap": silent, "concurrent_bootstrap": concurrent}
        answer = await self._act(_path(name, "approve"), **{key: str(flag).lower() for key, flag in flags.items()})
        if isinstance(answer, dict):
            return Approval(
                wire.int64(answer.get("checkpoint_sequence_number")), wire.identifier(answer.get("incarnation_uuid"))
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
            raise self._tell(errors.Ambiguous("Feldera's answer to the request for a checkpoint names no checkpoint"))
        return Checkpoint(number, wire.identifier(answer.get("incarnation_uuid")))

    async def checkpoint_status(self, name: str, *, incarnation: str | None) -> CheckpointProgress:
        """How far checkpoints are. With `incarnation`: Refused (IncarnationUuidMismatch) by another process."""
        query = {"incarnation_uuid": incarnation} if incarnation else {}
        body = await self._send("GET", _path(name, "checkpoint_status"), **query)
        answer = answers.read_json(body)
        if not isinstance(answer, dict):
            raise self._tell(answers.judge_body(body, "GET"))
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
        answer = answers.read_json(body) if body.strip() else None
        if answer is not None and not isinstance(answer, str | dict):
            raise self._tell(answers.judge_body(body, "POST"))
        return answer

    def _tell(self, error: errors.FelderaError) -> errors.FelderaError:
        self._on_error(error)
        return error

    async def _send(self, method: str, path: str, document: Mapping[str, Any] | None = None, /, **query: str) -> bytes:
        """The body of a 2xx answer; anything else is an error."""
        try:
            return await self._exchange(method, path, document, **query)
        except errors.FelderaError as error:
            self._tell(error)
            raise

    async def _exchange(self, method: str, path: str, document: Mapping[str, Any] | None, /, **query: str) -> bytes:
        silence, whole = self._limits[method]
        # Connecting gets only a part of it, so that "nothing was sent" is told from "nobody answered".
        timeout = httpx.Timeout(silence, connect=silence / 2, pool=silence / 2)
        try:
            token = self._connection.read_token()
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            # In one piece: joining a url of parts is a fifth of what a request costs httpx.
            url = f"{self._connection.url}{path}?{urlencode(query)}" if query else f"{self._connection.url}{path}"
            async with (
                asyncio.timeout(whole),
                self._client.stream(method, url, headers=headers, timeout=timeout, json=document) as response,
            ):
                body = answers.redact(await _read(response, method), token)
        except TokenUnreadable as error:
            raise errors.Unauthorized(str(error), reason="TokenFileUnreadable") from None
        except TimeoutError:
            raise errors.Ambiguous("no answer in time", reason="TimedOut") from None
        # TLS that breaks after the handshake comes as it is: httpx gives it no name of its own.
        except (httpx.HTTPError, OSError) as error:
            raise answers.judge_failure(error, url=self._connection.url, method=method) from None
        except (httpx.InvalidURL, UnicodeEncodeError):
            raise errors.NotReached("the url cannot be used", reason="UrlInvalid") from None
        if response.is_success:
            return body
        raise answers.judge_answer(response, body, now=self._now(), with_token=token is not None)


async def _read(response: httpx.Response, method: str) -> bytes:
    if not answers.is_readable(response):
        kind = errors.BadAnswer if method == "GET" else errors.Ambiguous
        raise kind("the answer is compressed in a way that was not asked for; is a proxy in between?")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > LARGEST_ANSWER_BYTES:
            kind = errors.Unreadable if method == "GET" else errors.Ambiguous
            raise kind(f"the answer is larger than {LARGEST_ANSWER_BYTES // 2**20} MiB")
    return bytes(body)


def _path(name: str, *action: str) -> str:
    # Percent-encoded, and dots too: no name can leave its place in the path.
    safe = quote(name.encode("utf-8", errors="surrogatepass"), safe="").replace(".", "%2E")
    return "/".join(("/v0/pipelines", safe, *action))
