"""KubeServer: an in-memory Kubernetes API on a loopback port, with everything that a test may want to turn."""

import collections
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from pipeline_approver.sandbox.faults import FaultPlan, Hold, Match
from pipeline_approver.sandbox.kube import builtin
from pipeline_approver.sandbox.kube.access import TOKEN_PREFIX, Allow
from pipeline_approver.sandbox.kube.gate import Gate, RequestRecord
from pipeline_approver.sandbox.kube.kinds import Object
from pipeline_approver.sandbox.kube.routes import Routes
from pipeline_approver.sandbox.kube.store import Collection, Store
from pipeline_approver.sandbox.kube.writes import Options, Writer

_MOST_BODY_BYTES = 3 * 2**20
_SHUTDOWN_SECONDS = 0.1


class KubeServer:
    """The API of a cluster with the kinds that an operator meets, and with the controllers that finish deletions.

    It serves kopf and kubectl. Not here: RBAC objects and admission policies (`allow` decides), CEL rules in
    definitions, conversion between versions. Use it from one event loop only. Objects that it hands out are not to
    be changed. It may be stopped and started again: the state and the port stay the same.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._store = Store()
        self._writer = Writer(self._store)
        self._gate = Gate(Routes(self._store, self._writer))
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None
        for kind in builtin.KINDS:
            self._store.install(kind)
        for name in builtin.FIRST_NAMESPACES:
            self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    async def start(self) -> None:
        """Serve; the first time on the port that was asked for, later on the same again."""
        app = web.Application(client_max_size=_MOST_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._gate.handle)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, handler_cancellation=True
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop as if killed: connections are cut, and what is held is not carried out."""
        self.cut_watches()
        await self._gate.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        """For example http://127.0.0.1:40123, without a slash at the end; valid once started."""
        return f"http://{self._host}:{self._port}"

    def kubeconfig(self, user: str = "admin", *, namespace: str = "default") -> dict[str, Any]:
        """A kubeconfig for one user, who need not be known before.

        The name is there twice: kubectl drops a token where there is no TLS, and other clients know no impersonation.
        """
        context = {"cluster": "sandbox", "user": user, "namespace": namespace}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "sandbox",
            "clusters": [{"name": "sandbox", "cluster": {"server": self.url}}],
            "users": [{"name": user, "user": {"token": f"{TOKEN_PREFIX}{user}", "as": user}}],
            "contexts": [{"name": "sandbox", "context": context}],
        }

    @property
    def faults(self) -> FaultPlan:
        """What goes wrong, matched by verb and `plural` or `plural/status`."""
        return self._gate.plan

    def hold(self, match: Match, *, where: str = "before", name: str | None = None) -> Hold:
        """Stop matching requests at an exact point: `before` they are applied, or `after`, unanswered."""
        return self._gate.plan.hold(match, where=where, name=name)

    @property
    def allow(self) -> Allow | None:
        """Who may do what: (user, verb, group, resource, subresource, namespace, name) to yes or no; None: all."""
        return self._gate.allow

    @allow.setter
    def allow(self, allow: Allow | None) -> None:
        self._gate.allow = allow

    @property
    def counts(self) -> collections.Counter[tuple[str, str]]:
        """All requests by verb and `plural` or `plural/status`."""
        return self._gate.counts

    @property
    def requests(self) -> collections.deque[RequestRecord]:
        """The last 20,000 requests."""
        return self._gate.requests

    def put(self, manifest: Object, *, manager: str = "kubectl", subresource: str = "") -> Object:
        """Create or replace an object as an admin would; raises ApiError with what is wrong.

        With the subresource `status`, the status of an object that exists is replaced.
        """
        collection = self._collection_for(manifest)
        kind, given = collection.kind, manifest.get("metadata") or {}
        key = (given.get("namespace") or "default" if kind.namespaced else "", given.get("name") or "")
        options = Options(manager=manager, subresource=subresource)
        if key in collection.entries or subresource:
            return self._writer.update(collection, key, lambda _: manifest, options).object
        return self._writer.create(collection, key[0], manifest, options).object

    def get(self, plural: str, namespace: str | None, name: str) -> Object | None:
        """One object, None if there is none."""
        entry = self._store.named(plural).entries.get((namespace or "", name))
        return None if entry is None else entry.object

    def list(self, plural: str, namespace: str | None = None) -> list[Object]:
        """All objects of a kind, or those in one namespace, in the order of their keys."""
        found = self._store.named(plural).snapshot(self._store.revision)
        return [entry.object for key, entry in found if namespace in (None, key[0])]

    def delete(self, plural: str, namespace: str | None, name: str) -> None:
        """Delete an object, as `kubectl delete --wait=false` does."""
        self._writer.delete(self._store.named(plural), (namespace or "", name))

    def expire_watches(self, plural: str | None = None) -> None:
        """End running watches with 410, and forget the past: what was known before is too old to go on from."""
        self._store.expire(self._collections(plural))

    def cut_watches(self, plural: str | None = None) -> None:
        """Cut the connections of running watches without a word."""
        for collection in self._collections(plural):
            collection.cuts += 1
            collection.notify()

    def pause_watches(self, plural: str | None = None) -> None:
        """Withhold events: watches stay open and lag behind. Lists and reads are up to date."""
        for collection in self._collections(plural):
            if collection.shown is None:
                collection.shown = self._store.revision

    def resume_watches(self, plural: str | None = None) -> None:
        """Send what was withheld."""
        for collection in self._collections(plural):
            collection.shown = None
            collection.notify()

    def _collections(self, plural: str | None) -> Iterable[Collection]:
        return tuple(self._store.collections.values()) if plural is None else (self._store.named(plural),)

    def _collection_for(self, manifest: Object) -> Collection:
        for collection in self._store.collections.values():
            kind = collection.kind
            if (kind.api_version, kind.kind) == (manifest.get("apiVersion"), manifest.get("kind")):
                return collection
        raise ValueError(f"no kind {manifest.get('kind')} in {manifest.get('apiVersion')} is served; put its CRD first")
