"""The state: one collection per kind, one counter for all, and a log of events that watches read from.

Objects are replaced and never changed in place, and each version is serialised once; what a list or a watch sends is
that very string of bytes.
"""

import asyncio
import collections
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline_approver.sandbox.kube import errors
from pipeline_approver.sandbox.kube.kinds import Kind, Object

Key = tuple[str, str]
"""Namespace (empty for cluster-scoped kinds) and name."""
REMEMBERED_EVENTS = 5000
REMEMBERED_SNAPSHOTS = 8
FIRST_REVISION = 1000


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def dump(value: Any) -> bytes:
    """JSON without spaces."""
    return _encode(value).encode()


@dataclass(frozen=True, slots=True)
class Entry:
    """An object and the same as JSON."""

    object: Object
    raw: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One change."""

    revision: int
    type: str
    before: Object | None
    after: Entry


Snapshot = list[tuple[Key, Entry]]


class Collection:
    """All objects of one kind, and what happened to them."""

    def __init__(self, kind: Kind, revision: int) -> None:
        self.kind = kind
        self.entries: dict[Key, Entry] = {}
        self.log: collections.deque[Event] = collections.deque(maxlen=REMEMBERED_EVENTS)
        self.forgotten = revision
        """Watches and lists cannot go on from before this revision."""
        self.expiries = 0
        """Changes when all running watches are to end with 410."""
        self.cuts = 0
        """Changes when all running watches are to be cut off."""
        self.shown: int | None = None
        """While watches lag: the last revision they may know of."""
        self.wake = asyncio.Event()
        self._snapshots: collections.OrderedDict[int, Snapshot] = collections.OrderedDict()

    def find(self, key: Key) -> Entry:
        """One object; raises 404."""
        entry = self.entries.get(key)
        if entry is None:
            raise errors.not_found(self.kind, key[1])
        return entry

    def snapshot(self, revision: int) -> Snapshot:
        """Everything in the order of its keys, kept so that later pages show the same state."""
        found = self._snapshots.get(revision)
        if found is None:
            found = self._snapshots[revision] = sorted(self.entries.items(), key=lambda item: item[0])
            while len(self._snapshots) > REMEMBERED_SNAPSHOTS:
                self._snapshots.popitem(last=False)
        return found

    def old_snapshot(self, revision: int) -> Snapshot | None:
        """The state of an earlier first page, while it is remembered."""
        return self._snapshots.get(revision)

    def append(self, event: Event) -> None:
        if len(self.log) == self.log.maxlen:
            self.forgotten = self.log[0].revision
        self.log.append(event)
        self.notify()

    def since(self, revision: int) -> list[Event]:
        """The events after a revision that watches may know of, oldest first."""
        found = []
        for event in reversed(self.log):
            if event.revision <= revision:
                break
            if self.shown is None or event.revision <= self.shown:
                found.append(event)
        found.reverse()
        return found

    def forget(self, revision: int) -> None:
        """Forget the past, and end all running watches with 410."""
        self.log.clear()
        self._snapshots.clear()
        self.forgotten = revision
        self.expiries += 1
        self.notify()

    def notify(self) -> None:
        """Wake all watches."""
        self.wake.set()
        self.wake = asyncio.Event()


class Store:
    """All collections. The only place where state changes."""

    def __init__(self) -> None:
        self.revision = FIRST_REVISION
        self.collections: dict[tuple[str, str, str], Collection] = {}
        self._owned: dict[str, set[tuple[Collection, Key]]] = {}

    def install(self, kind: Kind) -> Collection:
        """Serve a kind; one that is served already keeps its objects."""
        place = (kind.group, kind.version, kind.plural)
        if (known := self.collections.get(place)) is not None:
            known.kind = kind
            return known
        self.collections[place] = Collection(kind, self.revision)
        return self.collections[place]

    def uninstall(self, collection: Collection) -> None:
        kind = collection.kind
        del self.collections[(kind.group, kind.version, kind.plural)]
        collection.forget(self.revision)

    def find(self, group: str, version: str, plural: str) -> Collection:
        """The collection at a path; raises 404."""
        found = self.collections.get((group, version, plural))
        if found is None:
            raise errors.no_such_path()
        return found

    def named(self, plural: str) -> Collection:
        """The collection with this plural, whatever its group."""
        for (_, _, known), collection in self.collections.items():
            if known == plural:
                return collection
        raise errors.ApiError(404, f"the server doesn't have a resource type {plural!r}")

    def write(self, collection: Collection, key: Key, new: Object) -> Entry:
        """Store an object; it must not be changed by anybody afterwards."""
        before = collection.entries.get(key)
        self.revision += 1
        new["metadata"]["resourceVersion"] = str(self.revision)
        for owner in new["metadata"].get("ownerReferences") or ():
            self._owned.setdefault(owner["uid"], set()).add((collection, key))
        entry = collection.entries[key] = Entry(new, dump(new))
        kind = "ADDED" if before is None else "MODIFIED"
        collection.append(Event(self.revision, kind, before.object if before else None, entry))
        return entry

    def remove(self, collection: Collection, key: Key) -> Entry:
        """Remove an object; its last state gets the revision of its end."""
        before = collection.entries.pop(key)
        self.revision += 1
        last = at_revision(before.object, self.revision)
        entry = Entry(last, dump(last))
        collection.append(Event(self.revision, "DELETED", before.object, entry))
        return entry

    def dependents(self, uid: str) -> list[tuple[Collection, Key]]:
        """What an owner that is gone leaves behind."""
        return [
            (collection, key)
            for collection, key in self._owned.pop(uid, ())
            if key in collection.entries and _is_owned_by(collection.entries[key].object, uid)
        ]

    def expire(self, collections: Iterable[Collection]) -> None:
        """Make every known resourceVersion of these collections too old."""
        self.revision += 1
        for collection in collections:
            collection.forget(self.revision)


def _is_owned_by(object_: Object, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in object_["metadata"].get("ownerReferences") or ())


def at_revision(object_: Object, revision: int) -> Object:
    """The same object with another resourceVersion."""
    return {**object_, "metadata": {**object_["metadata"], "resourceVersion": str(revision)}}
