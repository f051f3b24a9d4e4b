"""The Kubernetes that the operator uses: Pipelines with resource versions, a log to watch, Secrets, Events.

Objects are never changed in place: every write makes a new one, so that whoever holds an older one keeps it as it was.
"""

import collections
import datetime
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from simulation.network import Answer, Call

GROUP = "pipeline-approver.io"
API = f"/apis/{GROUP}/v1alpha1"
EPOCH = datetime.datetime(2026, 11, 23, 12, 0, 0, tzinfo=datetime.UTC)
CHUNK = 3
"""Objects per page of a list, whatever the client would take."""

Manifest = dict[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the watch log."""

    version: int
    type: str
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Write:
    """One accepted status patch, for the checks."""

    at: float
    operator: Any
    process: Any
    before: Manifest
    after: Manifest


class Kubernetes:
    """The API server and its store."""

    def __init__(self, *, clock: Callable[[], float], rng: random.Random) -> None:
        self.pipelines: dict[Key, Manifest] = {}
        self.secrets: dict[Key, Manifest] = {}
        self.events: dict[Key, Manifest] = {}
        self.log: list[Change] = []
        self.on_change: list[Callable[[Change], None]] = []
        self.on_write: list[Callable[[Write], None]] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self._clock = clock
        self._rng = rng
        self._version = 0
        self._serial = 0

    # What people and controllers do. They write with kubectl, at once.

    def create(
        self, namespace: str, name: str, *, spec: Manifest, annotations: Mapping[str, str], manager: str
    ) -> Manifest:
        self._serial += 1
        stamp = EPOCH + datetime.timedelta(seconds=self._clock())
        metadata: Manifest = {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{self._serial:04d}",
            "generation": 1,
            "creationTimestamp": stamp.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "annotations": dict(annotations),
            "managedFields": _manage([], {}, annotations, manager),
        }
        return self._put("ADDED", {"metadata": metadata, "spec": spec})

    def update(
        self, key: Key, *, manager: str, annotations: Mapping[str, str] | None = None, spec: Manifest | None = None
    ) -> None:
        """Replace annotations or spec; nothing happens where they are so already."""
        old = self.pipelines[key]
        metadata = dict(old["metadata"])
        before, after = old["metadata"]["annotations"], dict(annotations) if annotations is not None else None
        if after is not None and after != before:
            metadata["annotations"] = after
            metadata["managedFields"] = _manage(metadata["managedFields"], before, after, manager)
        if spec is not None and spec != old["spec"]:
            metadata["generation"] += 1
        new = {**old, "metadata": metadata, "spec": old["spec"] if spec is None else spec}
        if new != old:
            self._put("MODIFIED", new)

    def delete(self, key: Key, *, held: bool = False) -> None:
        """Delete an object; one that a finalizer holds is only marked."""
        old = self.pipelines[key]
        if held:
            stamp = (EPOCH + datetime.timedelta(seconds=self._clock())).strftime("%Y-%m-%dT%H:%M:%SZ")
            self._put("MODIFIED", {**old, "metadata": {**old["metadata"], "deletionTimestamp": stamp}})
            return
        self._version += 1
        del self.pipelines[key]
        self._publish(Change(self._version, "DELETED", old))

    def _put(self, type_: str, manifest: Manifest) -> Manifest:
        self._version += 1
        metadata = {**manifest["metadata"], "resourceVersion": str(self._version)}
        manifest = {**manifest, "metadata": metadata}
        self.pipelines[(metadata["namespace"], metadata["name"])] = manifest
        self._publish(Change(self._version, type_, manifest))
        return manifest

    def _publish(self, change: Change) -> None:
        self.log.append(change)
        for listener in self.on_change:
            listener(change)

    # What the operator asks.

    def serve(self, call: Call) -> Answer:
        self.counts[
            f"{call.method} {call.path.rsplit('/', 1)[-1] if 'status' in call.path else call.path.split('/')[-1]}"
        ] += 1
        parts = call.path.strip("/").split("/")
        match call.method, parts:
            case "GET", ["apis", _, _, "pipelines"]:
                return self._list(call)
            case "GET", ["apis", _, _, "namespaces", namespace, "pipelines", name]:
                manifest = self.pipelines.get((namespace, name))
                return self._answer(manifest) if manifest else _refuse(404, "NotFound", f"{name} not found")
            case "PATCH", ["apis", _, _, "namespaces", namespace, "pipelines", name, "status"]:
                return self._patch_status((namespace, name), call)
            case "GET", ["api", "v1", "namespaces", namespace, "secrets", name]:
                secret = self.secrets.get((namespace, name))
                return (
                    Answer(200, json.dumps(secret).encode())
                    if secret
                    else _refuse(404, "NotFound", f"{name} not found")
                )
            case method, ["api", "v1", "namespaces", namespace, "events", *name]:
                return self._serve_event(method, (namespace, name[0] if name else call.body["metadata"]["name"]), call)
        return _refuse(404, "NotFound", "the server could not find the requested resource")

    def _list(self, call: Call) -> Answer:
        known = sorted(self.pipelines.values(), key=lambda it: (it["metadata"]["namespace"], it["metadata"]["name"]))
        version, _, start = call.query.get("continue", f"{self._version}:0").partition(":")
        if int(version) != self._version and self._rng.random() < 0.3:
            return _refuse(410, "Expired", "the provided continue parameter is too old")
        end = int(start) + CHUNK
        items = [
            {"metadata": {key: it["metadata"][key] for key in ("uid", "namespace", "name", "resourceVersion")}}
            for it in known
        ]
        token = f"{version}:{end}" if end < len(items) else ""
        return Answer(200, json.dumps({"metadata": {"continue": token}, "items": items[int(start) : end]}).encode())

    def _patch_status(self, key: Key, call: Call) -> Answer:
        old = self.pipelines.get(key)
        if old is None:
            return _refuse(404, "NotFound", f"{key[1]} not found")
        condition = call.body["metadata"]["resourceVersion"]
        if condition is not None and condition != old["metadata"]["resourceVersion"]:
            return _refuse(
                409, "Conflict", "the object has been modified; please apply your changes to the latest version"
            )
        new = self._put_status(old, _merge(old.get("status", {}), call.body["status"]))
        for listener in self.on_write:
            listener(Write(self._clock(), call.operator, call.process, old, new))
        return self._answer(new)

    def _put_status(self, old: Manifest, status: Manifest) -> Manifest:
        if status == old.get("status", {}):
            return old
        return self._put("MODIFIED", {**old, "status": status})

    def _serve_event(self, method: str, key: Key, call: Call) -> Answer:
        known = self.events.get(key)
        if method == "POST":
            if known is not None:
                return _refuse(409, "AlreadyExists", f"{key[1]} exists")
            self.events[key] = call.body
        elif known is None:
            return _refuse(404, "NotFound", f"{key[1]} not found")
        elif method == "PATCH":
            self.events[key] = _merge(known, call.body)
        return Answer(200, json.dumps(self.events[key]).encode())

    def _answer(self, manifest: Manifest) -> Answer:
        return Answer(200, json.dumps(manifest).encode())

    @staticmethod
    def spoil(call: Call, rng: random.Random) -> Answer:
        """An error that is not the store's."""
        status, reason = rng.choice(
            [(429, "TooManyRequests"), (500, "InternalError"), (503, "ServiceUnavailable"), (504, "Timeout")]
        )
        answer = _refuse(status, reason, "simulated")
        if status == 429:
            answer.headers["Retry-After"] = str(rng.randint(1, 5))
        return answer


def _refuse(status: int, reason: str, message: str) -> Answer:
    body = {"kind": "Status", "status": "Failure", "code": status, "reason": reason, "message": message}
    return Answer(status, json.dumps(body).encode())


def _merge(target: Any, patch: Any) -> Any:
    """RFC 7386, without touching what it is given."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _manage(
    entries: list[Manifest], before: Mapping[str, str], after: Mapping[str, str], manager: str
) -> list[Manifest]:
    """Who owns which annotation: whoever changed it last."""
    owners = {}
    for entry in entries:
        for field in entry["fieldsV1"]["f:metadata"]["f:annotations"]:
            owners[field] = entry["manager"]
    for name in {**before, **after}:
        if before.get(name) != after.get(name):
            owners[f"f:{name}"] = manager
    owners = {field: owner for field, owner in owners.items() if field.removeprefix("f:") in after}
    return [
        {
            "manager": owner,
            "fieldsV1": {"f:metadata": {"f:annotations": {f: {} for f, o in owners.items() if o == owner}}},
        }
        for owner in dict.fromkeys(owners.values())
    ]
