"""A real API server as a cluster admin would set it up: our manifests, accounts with tokens, every request logged."""

import asyncio
import functools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline_approver.sandbox.real import RealServer, make_kubeconfig

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "deploy" / "overlays"
SYSTEM = "pipeline-approver-system"
TEAM = "feldera"
"""The namespace of the overlay `namespaced`."""
ACCOUNT = "pipeline-approver"

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One request in the audit log."""

    verb: str
    resource: str
    """With its group before and its subresource after a slash; empty for what is not a resource."""
    namespace: str
    name: str
    code: int
    user: str
    uri: str

    @property
    def right(self) -> tuple[str, str, str]:
        """What a rule must grant: group, resource and verb."""
        group, _, resource = self.resource.partition("/")
        return group, resource, self.verb


class CommandFailed(AssertionError):
    """kubectl did not succeed."""


class Cluster:
    """One API server for all tests of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = RealServer(folder, users={"alice": (), "bob": (), "carol": ()}, audit=True)
        self.skipped: set[str] = set()
        """Kinds in our manifests that this version does not have."""
        self._starts: list[tuple[int, int]] = []

    def start(self) -> None:
        """Start it, and install what the cluster-wide overlay has."""
        self.server.start()
        for namespace in (TEAM, "shop"):
            self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        self.install("cluster-wide")
        self.install("namespaced")

    def stop(self) -> None:
        self.server.stop()

    async def kill(self) -> None:
        """Kill the API server."""
        await asyncio.to_thread(self.server.kill_apiserver)

    async def restart(self) -> None:
        """Start it again. Before it is ready it refuses what it allows: it does not know the roles yet."""
        begin = self.mark()
        await asyncio.to_thread(self.server.start_apiserver)
        self._starts.append((begin, self.mark()))

    @functools.cached_property
    def version(self) -> tuple[int, int]:
        """Major and minor."""
        _, answer = self.server.request("GET", "/version")
        return int(answer["major"]), int(answer["minor"].rstrip("+"))

    def create(self, manifest: Manifest) -> None:
        """Create something of a core kind, unless it is there."""
        path = f"/api/v1/{manifest['kind'].lower()}s"
        if namespace := manifest["metadata"].get("namespace"):
            path = f"/api/v1/namespaces/{namespace}/{manifest['kind'].lower()}s"
        status, answer = self.server.request("POST", path, manifest)
        assert status in (201, 409), answer

    # kubectl

    def kubeconfig(self, user: str | None = None, *, token: str | None = None, url: str | None = None) -> Path:
        """A file for a user, the administrator by default, or for a token."""
        config = self.server.kubeconfig() if user is None else self.server.kubeconfig(user)
        if token is not None:
            config = make_kubeconfig(url or self.server.url, token)
        path = self.folder / f"kubeconfig-{abs(hash(json.dumps(config)))}"
        path.write_text(json.dumps(config))
        return path

    async def kubectl(self, *arguments: str, stdin: str | None = None, user: str | None = None) -> str:
        """What kubectl prints; raises CommandFailed with it."""
        return await asyncio.to_thread(self.run_kubectl, *arguments, stdin=stdin, user=user)

    def run_kubectl(self, *arguments: str, stdin: str | None = None, user: str | None = None) -> str:
        """The same, for those without an event loop."""
        kubectl = shutil.which("kubectl") or str(self._assets / "kubectl")
        done = subprocess.run(
            [kubectl, f"--kubeconfig={self.kubeconfig(user)}", f"--cache-dir={self.folder / 'cache'}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": str(self.folder)},
        )
        if done.returncode:
            raise CommandFailed(f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}".strip())
        return done.stdout

    @property
    def _assets(self) -> Path:
        return Path(os.environ.get("KUBEBUILDER_ASSETS", "/usr/local/kubebuilder/bin"))

    @property
    def validation(self) -> list[str]:
        """Whether kubectl's own check of manifests can be passed here."""
        return [] if self.version >= (1, 30) else ["--validate=false"]

    # Our manifests

    def manifests(self, overlay: str) -> list[Manifest]:
        """What `kubectl kustomize` makes of an overlay, without what this version of Kubernetes does not have."""
        text = self.run_kubectl("kustomize", str(OVERLAYS / overlay))
        found = [manifest for manifest in yaml.safe_load_all(text) if manifest]
        self.skipped |= {manifest["kind"] for manifest in found if not self._serves(manifest)}
        return [manifest for manifest in found if self._serves(manifest)]

    def install(self, overlay: str) -> None:
        """`kubectl apply -k`, as far as this version of Kubernetes goes."""
        text = yaml.safe_dump_all(self.manifests(overlay))
        self.run_kubectl("apply", *self.validation, "-f", "-", stdin=text)
        self.run_kubectl("wait", "crd/pipelines.pipeline-approver.io", "--for=condition=Established", "--timeout=30s")

    def _serves(self, manifest: Manifest) -> bool:
        return (manifest["apiVersion"], manifest["kind"]) in self._served

    @functools.cached_property
    def _served(self) -> set[tuple[str, str]]:
        groups = self.server.request("GET", "/apis")[1]["groups"]
        versions = {"v1": "/api/v1"} | {
            version["groupVersion"]: f"/apis/{version['groupVersion']}"
            for group in groups
            for version in group["versions"]
        }
        return {
            (version, resource["kind"])
            for version, path in versions.items()
            for resource in self.server.request("GET", path)[1]["resources"]
        }

    # Accounts

    def account_token(self, namespace: str, name: str = ACCOUNT) -> str:
        """A token of a ServiceAccount, as the kubelet asks for one."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        status, answer = self.server.request("POST", path, body)
        assert status == 201, answer
        token: str = answer["status"]["token"]
        return token

    # The audit log

    def mark(self) -> int:
        """The present end of the audit log."""
        assert self.server.audit_log is not None
        return self.server.audit_log.stat().st_size

    def requests(self, *, since: int = 0, user: str | None = None) -> Iterator[Request]:
        """The answered requests, of one user or of all, but for those to a server that was not ready."""
        assert self.server.audit_log is not None
        with self.server.audit_log.open("rb") as log:
            at = log.seek(since)
            for line in log:
                if not line.endswith(b"\n"):
                    return
                entry = json.loads(line)
                name = entry["user"].get("username", "")
                is_early = any(begin <= at < end for begin, end in self._starts)
                if entry["stage"] != "Panic" and user in (None, name) and not is_early:
                    yield _parse(entry, name)
                at += len(line)


def account_name(namespace: str, name: str = ACCOUNT) -> str:
    """What the API server calls a ServiceAccount."""
    return f"system:serviceaccount:{namespace}:{name}"


def _parse(entry: Manifest, user: str) -> Request:
    where = entry.get("objectRef", {})
    parts = [where.get("apiGroup", ""), where.get("resource", ""), where.get("subresource", "")]
    return Request(
        verb=entry["verb"],
        resource="/".join(parts).rstrip("/") if where else "",
        namespace=where.get("namespace", ""),
        name=where.get("name", ""),
        code=entry.get("responseStatus", {}).get("code", 0),
        user=user,
        uri=entry["requestURI"],
    )
