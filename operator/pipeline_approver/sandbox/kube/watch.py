"""Watches: what happened after a resourceVersion, in order, as it happens."""

import asyncio
import contextlib
import random

from aiohttp import web

from pipeline_approver.sandbox import faults
from pipeline_approver.sandbox.kube import errors, selectors
from pipeline_approver.sandbox.kube.calls import Call, is_true
from pipeline_approver.sandbox.kube.errors import ApiError
from pipeline_approver.sandbox.kube.kinds import Object
from pipeline_approver.sandbox.kube.store import Collection, Entry, Event, Store, at_revision, dump
from pipeline_approver.sandbox.kube.views import View

BOOKMARK_SECONDS = 30.0
_NO_LIMIT_SECONDS = (1800.0, 3600.0)


async def serve(
    store: Store, collection: Collection, call: Call, request: web.Request, view: View
) -> web.StreamResponse:
    """Answer a watch until its time is up, its client is gone, or somebody cuts it off."""
    watch = _Watch(store, collection, call, request, view)
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        await watch.run(response)
    return response


class _Watch:
    def __init__(self, store: Store, collection: Collection, call: Call, request: web.Request, view: View) -> None:
        query = request.query
        self._store = store
        self._collection = collection
        self._request = request
        self._view = view
        self._namespace = call.namespace
        fields = query.get("fieldSelector", "") + (f",metadata.name={call.name}" if call.name else "")
        self._predicate = selectors.parse(collection.kind, query.get("labelSelector", ""), fields)
        self._with_bookmarks = is_true(request, "allowWatchBookmarks")
        self._initial_end = is_true(request, "sendInitialEvents")
        if self._initial_end and query.get("resourceVersionMatch") != "NotOlderThan":
            raise ApiError(
                422,
                'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires'
                " setting resourceVersionMatch to NotOlderThan",
            )
        version = query.get("resourceVersion") or "0"
        if not version.isdecimal():
            raise ApiError(400, f"invalid resource version {version!r}")
        self._from_scratch = version == "0" or self._initial_end
        self._at = store.revision if self._from_scratch else int(version)
        seconds = query.get("timeoutSeconds") or "0"
        limit = float(seconds) if seconds.isdecimal() else 0.0
        self._end = asyncio.get_running_loop().time() + (limit or random.uniform(*_NO_LIMIT_SECONDS))
        self._expiries, self._cuts = collection.expiries, collection.cuts

    async def run(self, response: web.StreamResponse) -> None:
        """Send until it is over."""
        if self._from_scratch:
            await self._send_state(response)
        loop = asyncio.get_running_loop()
        bookmark_at = loop.time() + BOOKMARK_SECONDS
        while True:
            # Taken before looking, so that no event falls between looking and waiting.
            wake = self._collection.wake
            if self._collection.cuts != self._cuts:
                faults.cut(self._request)
                return
            if self._collection.expiries != self._expiries or self._at < self._collection.forgotten:
                gone = errors.expired(f"too old resource version: {self._at} ({self._collection.forgotten})")
                await response.write(dump({"type": "ERROR", "object": gone.status()}) + b"\n")
                return
            events = self._collection.since(self._at)
            if events:
                self._at = events[-1].revision
                if chunk := b"".join(filter(None, map(self._render, events))):
                    await response.write(chunk)
                continue
            now = loop.time()
            if now >= min(self._end, bookmark_at) and self._with_bookmarks:
                await response.write(self._view.render_bookmark(self._known()))
                bookmark_at = now + BOOKMARK_SECONDS
            if now >= self._end:
                return
            until = min(self._end, bookmark_at) if self._with_bookmarks else self._end
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), max(0.0, until - now))

    async def _send_state(self, response: web.StreamResponse) -> None:
        entries = [entry for _, entry in self._collection.snapshot(self._store.revision)]
        chunks = [self._view.render_event("ADDED", entry) for entry in entries if self._wants(entry.object)]
        if self._initial_end and self._with_bookmarks:
            chunks.append(self._view.render_bookmark(self._at, ends_initial_events=True))
        if chunks:
            await response.write(b"".join(chunks))

    def _known(self) -> int:
        """A revision up to which nothing is withheld."""
        return self._store.revision if self._collection.shown is None else self._at

    def _wants(self, object_: Object | None) -> bool:
        if object_ is None or (self._namespace is not None and object_["metadata"].get("namespace") != self._namespace):
            return False
        return self._predicate is None or self._predicate(object_)

    def _render(self, event: Event) -> bytes | None:
        """The event as this watch sees it: objects come into its selection, and leave it."""
        was = self._wants(event.before)
        if event.type == "DELETED":
            return self._view.render_event("DELETED", event.after) if was else None
        if self._wants(event.after.object):
            return self._view.render_event("MODIFIED" if was else "ADDED", event.after)
        if was and event.before is not None:
            left = at_revision(event.before, event.revision)
            return self._view.render_event("DELETED", Entry(left, dump(left)))
        return None
