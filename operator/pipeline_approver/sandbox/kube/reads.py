"""Lists, with pages that all show the state of the first."""

import base64
import bisect
import json

from aiohttp import web

from pipeline_approver.sandbox.kube import errors, selectors
from pipeline_approver.sandbox.kube.calls import Call
from pipeline_approver.sandbox.kube.errors import ApiError
from pipeline_approver.sandbox.kube.store import Collection, Entry, Key, Snapshot, Store, dump
from pipeline_approver.sandbox.kube.views import View

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without"
    " the continue parameter, or use the continue token in this response to retrieve the remainder of the results."
    " Continuing with the provided token results in an inconsistent list."
)


def render_list(store: Store, collection: Collection, call: Call, request: web.Request, view: View) -> bytes:
    """The answer to a list request."""
    limit = _number(request, "limit")
    token = request.query.get("continue", "")
    revision, start = _read_token(token) if token else (store.revision, None)
    snapshot = _state(store, collection, revision)
    at = bisect.bisect_right(snapshot, start, key=lambda item: item[0]) if start else 0
    predicate = selectors.parse(
        collection.kind, request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
    )
    entries: list[Entry] = []
    last: Key | None = None
    metadata: dict[str, object] = {"resourceVersion": str(revision)}
    for number in range(at, len(snapshot)):
        key, entry = snapshot[number]
        if call.namespace is not None and key[0] != call.namespace:
            continue
        if predicate is not None and not predicate(entry.object):
            continue
        if limit and len(entries) == limit and last is not None:
            metadata["continue"] = _write_token(revision, last)
            if predicate is None:
                rest = snapshot[number:]
                metadata["remainingItemCount"] = sum(call.namespace in (None, below[0]) for below, _ in rest)
            break
        entries.append(entry)
        last = key
    return view.render_list(entries, metadata)


def _state(store: Store, collection: Collection, revision: int) -> Snapshot:
    if revision == store.revision:
        return collection.snapshot(revision)
    found = collection.old_snapshot(revision)
    if found is None:
        raise errors.expired(_TOO_OLD)
    return found


def _read_token(token: str) -> tuple[int, Key]:
    try:
        revision, namespace, name = json.loads(base64.urlsafe_b64decode(token))
        return int(revision), (str(namespace), str(name))
    except ValueError:
        raise ApiError(400, "continue key is not valid") from None


def _write_token(revision: int, last: Key) -> str:
    return base64.urlsafe_b64encode(dump([revision, *last])).decode()


def _number(request: web.Request, parameter: str) -> int:
    text = request.query.get(parameter, "0")
    if not text.isdecimal():
        raise ApiError(400, f"{parameter}: Invalid value: {text!r}: must be a number")
    return int(text)
