"""The Pipelines as last seen: slim values, found by key, by connection, and by the Feldera pipeline they stand for."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline_approver.core.resource import APPROVE, REJECT, Resource
from pipeline_approver.core.status import Handled, Status
from pipeline_approver.core.tokens import Token, TokenKind


@dataclass(frozen=True, slots=True)
class ConnectionKey:
    """Where a Pipeline's connection is configured: a Secret, or nowhere for the operator's own."""

    namespace: str = ""
    secret_name: str | None = None

    def __str__(self) -> str:
        return "own" if self.secret_name is None else f"{self.namespace}/{self.secret_name}"


@dataclass(slots=True)
class Entry:
    """One Pipeline in the cache."""

    resource: Resource
    released: frozenset[str] = frozenset()
    """Annotations that were seen without a value since the recorded one was used up."""
    told_at: float | None = None
    """When a status of another process was first seen here; what Feldera said before that may be older."""
    decided_at: float = 0.0
    """When the decision, as it stands, was first seen here."""
    pause_until: float | None = None
    """Until when the decision is not sent again; None while nobody has measured it."""


Track = Callable[[Resource | None, Resource | None], None]


class Cache:
    """All Pipelines that the operator watches."""

    def __init__(self, *, track: Track = lambda before, after: None) -> None:
        """`track` is told of every change: what a Pipeline was, and what it is now."""
        self._track = track
        self._entries: dict[str, Entry] = {}
        self._names: dict[ConnectionKey, dict[str, set[str]]] = {}
        self._namesakes: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Entry | None:
        """The Pipeline `namespace/name`, or None."""
        return self._entries.get(key)

    def all_keys(self) -> list[str]:
        """The keys of all Pipelines."""
        return list(self._entries)

    def observe(self, resource: Resource) -> bool:
        """Take in a Pipeline as it was read. False when it is older than what is known already."""
        entry, now = self._entries.get(resource.key), asyncio.get_running_loop().time()
        if entry is not None and _is_older(resource.resource_version, entry.resource.resource_version):
            return False
        if entry is not None and entry.resource.uid == resource.uid:
            released = _carry_released(entry, resource)
            self._unlink(entry.resource, resource)
            self._track(entry.resource, resource)
            if resource.status != entry.resource.status:
                entry.told_at = now
            if resource.status.decision != entry.resource.status.decision:
                entry.decided_at, entry.pause_until = now, None
            entry.resource, entry.released = resource, released
        else:
            if entry is not None:
                self.forget(resource.key)
            told_at = now if resource.status != Status() else None
            entry = Entry(resource, _find_released(resource), told_at=told_at, decided_at=now)
            self._entries[resource.key] = entry
            self._track(None, resource)
        names = self._names.setdefault(find_connection_key(resource), {})
        names.setdefault(resource.pipeline_name, set()).add(resource.key)
        self._namesakes.setdefault(resource.pipeline_name, set()).add(resource.key)
        return True

    def observe_own(self, resource: Resource, *, told_at: float | None) -> Entry | None:
        """Take in what this process has written to a version that another had last written to at `told_at`.

        None when more has happened since, also to the Pipeline as a whole.
        """
        entry = self._entries.get(resource.key)
        if entry is None or entry.resource.uid != resource.uid or not self.observe(resource):
            return None
        entry.told_at = told_at
        return entry

    def forget(self, key: str) -> None:
        """Drop a Pipeline."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._unlink(entry.resource, None)
            self._track(entry.resource, None)

    def connections(self) -> Iterable[ConnectionKey]:
        """The connections that Pipelines refer to."""
        return self._names.keys()

    def names(self, connection: ConnectionKey) -> dict[str, set[str]]:
        """Feldera's pipeline names on a connection, and the keys of the Pipelines that stand for each."""
        return self._names.get(connection, {})

    def namesakes(self, pipeline_name: str) -> set[str]:
        """The Pipelines that stand for a Feldera pipeline of this name, on any connection."""
        return self._namesakes.get(pipeline_name, set())

    def _unlink(self, old: Resource, new: Resource | None) -> None:
        connection = find_connection_key(old)
        if new is not None and (find_connection_key(new), new.pipeline_name) == (connection, old.pipeline_name):
            return
        names = self._names[connection]
        for index in (names, self._namesakes):
            index[old.pipeline_name].discard(old.key)
            if not index[old.pipeline_name]:
                del index[old.pipeline_name]
        if not names:
            del self._names[connection]


def find_connection_key(resource: Resource) -> ConnectionKey:
    """The connection that a Pipeline refers to."""
    if resource.secret_name is None:
        return ConnectionKey()
    return ConnectionKey(resource.namespace, resource.secret_name)


def _carry_released(entry: Entry, new: Resource) -> frozenset[str]:
    old = entry.resource
    if old.status.handled != new.status.handled or old.status.decision != new.status.decision:
        # Somebody recorded something since; only what is seen from now on tells of a new decision.
        return _find_released(new)
    return entry.released | _find_released(new)


def _find_released(resource: Resource) -> frozenset[str]:
    handled: Handled = resource.status.handled
    pairs: tuple[tuple[str, Token, str], ...] = (
        (APPROVE, resource.approve, handled.approve),
        (REJECT, resource.reject, handled.reject),
    )
    return frozenset(name for name, token, used in pairs if used and token.kind is TokenKind.NONE)


def _is_older(version: str, than: str) -> bool:
    # Versions are opaque by contract and numbers in fact. Where they are not, an old event may be taken for
    # the newest state: the conditional write finds out.
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)
