"""The connections that Pipelines refer to: one feed each, opened with the first Pipeline and closed with the last."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Protocol

from pipeline_approver.core.case import Problem
from pipeline_approver.engine.cache import Cache, ConnectionKey
from pipeline_approver.engine.feed import Feed
from pipeline_approver.engine.queue import WorkQueue
from pipeline_approver.feldera import errors
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import Connection, ConnectionInvalid, connection_from_secret
from pipeline_approver.kube import errors as kube_errors

REREAD_SECONDS = 60.0
"""How often a connection Secret is read again: a changed url or a withdrawn key takes effect within that time."""
LONGEST_CALL_SECONDS = 30.0
UNEXPECTED = "the operator failed over Feldera's answer; please report what its log says about that"

log = logging.getLogger(__name__)


class PollMeter(Protocol):
    """Takes measurements of the polls, by connection."""

    def note_poll(self, connection: str, seconds: float) -> None:
        """A poll has ended, well or not."""

    def forget_connection(self, connection: str) -> None:
        """A connection is no longer polled."""


ReadSecret = Callable[[str, str], Awaitable[dict[str, Any]]]
OpenClient = Callable[[Connection], FelderaClient]
Spawn = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]


class Connections:
    """All feeds, by the place where their connection is configured."""

    def __init__(
        self,
        *,
        cache: Cache,
        queue: WorkQueue,
        own: Connection | None,
        own_namespaces: frozenset[str] | None,
        read_secret: ReadSecret,
        open_client: OpenClient,
        spawn: Spawn,
        interval_seconds: float,
        meter: PollMeter,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._own = own
        self._own_namespaces = own_namespaces
        self._read_secret = read_secret
        self._open_client = open_client
        self._spawn = spawn
        self._interval = interval_seconds
        self._meter = meter
        self._feeds: dict[ConnectionKey, Feed] = {}
        self._tasks: dict[ConnectionKey, asyncio.Task[None]] = {}
        self._started = False

    def start(self) -> None:
        """Begin to poll. Before all Pipelines are known nothing is decided, so there is nothing to ask for."""
        self._started = True
        for key, feed in self._feeds.items():
            self._open(key, feed)

    def peek(self, key: ConnectionKey) -> Feed | None:
        """The feed of a connection, if it is open."""
        return self._feeds.get(key)

    def items(self) -> Iterable[tuple[ConnectionKey, Feed]]:
        """The open feeds."""
        return self._feeds.items()

    def find(self, key: ConnectionKey) -> Feed:
        """The feed of a connection, opened if need be."""
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed(
                label=str(key),
                interval_seconds=self._interval,
                names=lambda: self._cache.names(key),
                changed=self._enqueue,
                everything_changed=lambda: self._enqueue(self._cache.names(key)),
                measure=lambda seconds: self._note_poll(key, seconds),
            )
            if self._started:
                self._open(key, feed)
        return feed

    def _open(self, key: ConnectionKey, feed: Feed) -> None:
        self._tasks[key] = self._spawn(f"feed {key}", self._serve(key, feed))

    def refuse(self, key: ConnectionKey, namespace: str) -> Problem | None:
        """Why a namespace may not use a connection."""
        if key.secret_name is not None or self._own_namespaces is None or namespace in self._own_namespaces:
            return None
        return Problem(
            reason="NamespaceNotAllowed",
            message=f"Pipelines in namespace {namespace} may not use the operator's own connection;"
            " set spec.connectionSecretRef",
            needs_person=True,
        )

    def sweep(self) -> None:
        """Close the feeds that no Pipeline refers to any more."""
        used = set(self._cache.connections())
        for key in [key for key in self._feeds if key not in used]:
            del self._feeds[key]
            task = self._tasks.pop(key, None)
            if task is not None:
                task.cancel()
            self._meter.forget_connection(str(key))

    def _note_poll(self, key: ConnectionKey, seconds: float) -> None:
        # A poll that was under way when its feed was closed ends after the connection was forgotten.
        if key in self._feeds:
            self._meter.note_poll(str(key), seconds)

    def _enqueue(self, names: Iterable[str]) -> None:
        """Have pipelines looked at on every connection: one feed may tell that two are the same."""
        for name in list(names):
            for resource_key in sorted(self._cache.namesakes(name)):
                self._queue.add(resource_key)

    async def _serve(self, key: ConnectionKey, feed: Feed) -> None:
        """Keep a feed's client in step with its configuration, and poll with it."""
        loop = asyncio.get_running_loop()
        fingerprint, read_at = "", 0.0
        try:
            while True:
                try:
                    if loop.time() - read_at >= REREAD_SECONDS or feed.client is None or feed.unauthorized:
                        read_at = loop.time()
                        fingerprint = await self._renew(key, feed, fingerprint)
                    await feed.poll()
                except Exception:
                    # A defect, ours or a library's, must not end the operator: the other connections go on.
                    log.exception("polling %s failed unexpectedly, trying again", feed.label)
                    feed.fail(errors.BadAnswer(UNEXPECTED, reason="InternalError"))
                await feed.pause()
        finally:
            await self._close(feed)

    async def _renew(self, key: ConnectionKey, feed: Feed, fingerprint: str) -> str:
        """Give a feed another client if its configuration is another one; the answer is its fingerprint."""
        connection = await self._resolve(key)
        if isinstance(connection, Problem):
            await self._close(feed)
            feed.set_problem(connection)
            return ""
        if connection is not None and connection.fingerprint() != fingerprint:
            await self._close(feed)
            feed.client = self._open_client(connection)
            feed.forget_failures()
            return connection.fingerprint()
        return fingerprint

    async def _close(self, feed: Feed) -> None:
        """Take a client out of use; calls that it has under way may end in peace."""
        client, feed.client = feed.client, None
        if client is not None:
            self._spawn("closing a client", _close_later(client))

    async def _resolve(self, key: ConnectionKey) -> Connection | Problem | None:
        """The connection as it is configured now; None when that is not known just now."""
        if key.secret_name is None:
            return self._own or Problem(
                reason="NoConnection",
                message="the operator has no connection of its own (FELDERA_URL is not set);"
                " set spec.connectionSecretRef, or configure the operator",
                needs_person=True,
            )
        where = f"Secret {key.secret_name} in namespace {key.namespace}"
        try:
            return connection_from_secret(await self._read_secret(key.namespace, key.secret_name))
        except ConnectionInvalid as error:
            return Problem(reason=error.reason, message=f"{where}: {error}", needs_person=True)
        except kube_errors.NotFound:
            message = f"{where} does not exist; create it with type pipeline-approver.io/connection and the key url"
            # It may be on its way, from another controller or in the same rollout: not yet a matter for a person.
            return Problem(reason="SecretNotFound", message=message)
        except kube_errors.Forbidden:
            message = f"the operator may not read {where}; give its account the verb get on secrets there"
            return Problem(reason="SecretForbidden", message=message, needs_person=True)
        except kube_errors.KubeError as error:
            log.debug("%s could not be read: %s", where, error)
            return None


async def _close_later(client: FelderaClient) -> None:
    try:
        await asyncio.sleep(LONGEST_CALL_SECONDS)
    finally:
        await client.aclose()
