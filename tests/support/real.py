"""The stage on a real API server: the same words as `Stage`, in a namespace of its own."""

import asyncio
import contextlib
import itertools
import json
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from pipeline_approver.sandbox.faults import FaultPlan
from pipeline_approver.sandbox.real import make_kubeconfig
from support import processes
from support.cluster import ACCOUNT, SYSTEM, Cluster, Manifest, Request, account_name
from support.gate import Gate
from support.processes import Operator
from support.stage import API, Stage, prefix

PIPELINES = f"/apis/{API}"
MERGE_PATCH = "application/merge-patch+json"
_numbers = itertools.count(1)


class RealKube:
    """One namespace of a real API server, with the methods of KubeServer that a stage uses.

    What is there is followed by watches, so that looking is as cheap as with the simulated server; it may be a moment
    old. Stages call their namespace `default`.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.gate = Gate(cluster.server)
        self._objects: dict[str, dict[str, Manifest]] = {"pipelines": {}, "events": {}}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """Where an operator finds the API: at the gate."""
        return self.gate.url

    @property
    def faults(self) -> FaultPlan:
        """What goes wrong at the gate."""
        return self.gate.faults

    def cut_watches(self) -> None:
        """Cut the connections of running watches without a word."""
        self.gate.cut_watches()

    async def start(self) -> None:
        self.cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        await self.gate.start()
        ready = {plural: asyncio.Event() for plural in self._objects}
        self._tasks = [asyncio.create_task(self._follow(plural, ready[plural])) for plural in self._objects]
        for event in ready.values():
            await event.wait()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.gate.stop()
        await asyncio.to_thread(self.cluster.server.request, "DELETE", self._path("pipelines"))

    def get(self, plural: str, namespace: str, name: str) -> Manifest | None:
        assert namespace == "default"
        return self._objects[plural].get(name)

    def list(self, plural: str) -> list[Manifest]:
        return list(self._objects[plural].values())

    def put(self, manifest: Manifest) -> Manifest:
        """Create something; its namespace is ours, whatever it says."""
        metadata = {**manifest["metadata"], "namespace": self.namespace}
        plural = f"{manifest['kind'].lower()}s"
        status, answer = self.cluster.server.request("POST", self._path(plural), {**manifest, "metadata": metadata})
        assert status == 201, answer
        if plural in self._objects:
            self._objects[plural][metadata["name"]] = answer
        created: Manifest = answer
        return created

    def patch(self, name: str, patch: Manifest, *, subresource: str = "") -> Manifest:
        """Merge into a Pipeline."""
        path = f"{self._path('pipelines')}/{name}{subresource and '/' + subresource}"
        status, answer = self.cluster.server.request("PATCH", path, patch, content_type=MERGE_PATCH)
        assert status == 200, answer
        patched: Manifest = answer
        return patched

    def _path(self, plural: str) -> str:
        base = PIPELINES if plural == "pipelines" else "/api/v1"
        return f"{base}/namespaces/{self.namespace}/{plural}"

    async def _follow(self, plural: str, ready: asyncio.Event) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        headers = {"Authorization": f"Bearer {self.cluster.server.token()}"}
        url, known = f"{self.cluster.server.url}{self._path(plural)}", self._objects[plural]
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            while True:
                # The API server may be killed at any time: then everything is read anew.
                with contextlib.suppress(aiohttp.ClientError, asyncio.IncompleteReadError, ValueError):
                    async with session.get(url, ssl=context) as response:
                        listed = await response.json()
                    if response.status == 200:
                        known.clear()
                        known.update({item["metadata"]["name"]: item for item in listed["items"]})
                        ready.set()
                        version = listed["metadata"]["resourceVersion"]
                        query = {"watch": "1", "resourceVersion": version}
                        async with session.get(url, params=query, ssl=context) as stream:
                            async for line in stream.content:
                                self._take(known, json.loads(line))
                await asyncio.sleep(0.05)

    @staticmethod
    def _take(known: dict[str, Manifest], event: Manifest) -> None:
        name = event["object"].get("metadata", {}).get("name")
        if event["type"] == "DELETED":
            known.pop(name, None)
        elif event["type"] in ("ADDED", "MODIFIED"):
            known[name] = event["object"]


class RealStage(Stage):
    """Feldera simulated, Kubernetes real. The operator has the rights of its ServiceAccount and no other."""

    kube: RealKube  # type: ignore[assignment]

    def __init__(
        self, folder: Path, cluster: Cluster, *, account: str = SYSTEM, namespace: str = "", **feldera: Any
    ) -> None:
        """`account` is the namespace of the operator's ServiceAccount."""
        super().__init__(folder, **feldera)
        self.cluster = cluster
        self.kube = RealKube(cluster, namespace or f"stage-{next(_numbers)}")
        self.account = account
        self._since = 0

    async def __aenter__(self) -> "RealStage":
        self._since = self.cluster.mark()
        await self.kube.start()
        await self.feldera.start()
        self.use(self.kube.url)
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.feldera.stop()
        await self.kube.stop()
        if failure == (None, None, None):
            assert self.refused() == [], "the operator lacks a right"

    @property
    def namespace(self) -> str:
        """The real name of what the stage calls `default`."""
        return self.kube.namespace

    def use(self, url: str) -> None:
        """Have operators that start from now on find the API there."""
        token = self.cluster.account_token(self.account, ACCOUNT)
        self.kubeconfig.write_text(json.dumps(make_kubeconfig(url, token)))

    def operated(self) -> list[Request]:
        """What the operator asked of the API server since the stage was opened."""
        return list(self.cluster.requests(since=self._since, user=account_name(self.account)))

    def refused(self) -> list[str]:
        """What it was refused for want of a right; this includes other stages of the same account."""
        return [f"{request.verb} {request.uri}" for request in self.operated() if request.code == 403]

    @contextlib.asynccontextmanager
    async def operated_by(self, *arguments: str, environ: dict[str, str] | None = None) -> AsyncIterator[Operator]:
        """An operator in a process of its own, for the namespace of the stage; in the end it stops in peace."""
        log = self.kubeconfig.parent / f"operator-{next(_numbers)}.log"
        everything = {**os.environ, **self.environ, **processes.ENVIRON, **(environ or {})}
        flags = ("--poll-interval", "0.1", "--health-port", "0", "--namespace", self.namespace, *arguments)
        async with processes.running(flags, everything, log) as operator:
            try:
                yield operator
                if operator.process.exitcode is None:
                    operator.terminate()
                    assert await operator.ended() == 0
                assert operator.complaints() == []
            except AssertionError as error:
                raise AssertionError(f"{error}\n{operator.output}") from None

    async def kubectl(self, *arguments: str, stdin: Any = None, user: str | None = None) -> str:
        """kubectl in the namespace of the stage; raises CommandFailed."""
        text = None if stdin is None else json.dumps(stdin)
        return await self.cluster.kubectl("-n", self.namespace, *arguments, stdin=text, user=user)

    def grant(self, user: str, role: str) -> None:
        """Bind a user to a ClusterRole in the namespace of the stage."""
        name = f"{user}-{role}"
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}/rolebindings"
        body = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }
        status, answer = self.cluster.server.request("POST", path, body)
        assert status in (201, 409), answer

    def annotate(self, name: str, namespace: str = "default", **values: str | None) -> None:
        assert namespace == "default"
        self.kube.patch(name, {"metadata": {"annotations": prefix(values)}})

    def change(self, name: str, namespace: str = "default", **spec: Any) -> None:
        assert namespace == "default"
        self.kube.patch(name, {"spec": spec})
