"""A Git repository, and small GitOps controllers that apply it again and again the way Flux and Argo CD do."""

import asyncio
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import yaml

from pipeline_approver.sandbox.kube.access import TOKEN_PREFIX

Manifest = dict[str, Any]
Judge = Callable[[Manifest], str]

SYNCED, WAITING, FAILED = "Synced", "Waiting", "Failed"
WAVE = "argocd.argoproj.io/sync-wave"
_PLACES = {"Pipeline": "apis/pipeline-approver.io/v1alpha1", "ConfigMap": "api/v1"}
# A script waits a second between two looks; the simulated Feldera is faster than that.
_PRELUDE = "set -euo pipefail\nsleep() { command sleep 0.05; }\n"


class Repository:
    """A Git repository in a folder, with a shell in which a user works."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        folder.mkdir()
        home = folder.parent / "home"
        home.mkdir()
        person = {
            f"GIT_{role}_{key}": value
            for role in ("AUTHOR", "COMMITTER")
            for key, value in (("NAME", "alice"), ("EMAIL", "alice@example.com"))
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("FELDERA_", "GIT_"))}
        isolated = {"HOME": str(home), "PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        self.environ = {**kept, **isolated, **person, **environ}
        self._git("init", "--quiet", "--initial-branch", "main")
        self._rendered: dict[tuple[str, str], list[Manifest]] = {}

    def write(self, path: str, text: str) -> None:
        """Write a file; `commit` or a script commits it."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())

    def commit(self, message: str) -> None:
        """Commit everything."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)

    async def run(self, script: str) -> str:
        """Run a script in the repository as a user or CI would; the answer is what it wrote to standard error."""
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            _PRELUDE + script,
            cwd=self.folder,
            env=self.environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode == 0, f"{script}\n{output.decode()}{errors.decode()}"
        return errors.decode()

    @property
    def head(self) -> str:
        """The newest revision."""
        return self._git("rev-parse", "HEAD").strip()

    def read(self, revision: str, path: str) -> list[Manifest]:
        """What a folder of a revision renders to, with kustomize."""
        key = (revision, path)
        if key not in self._rendered:
            with tempfile.TemporaryDirectory() as folder:
                archive = Path(folder) / "archive.tar"
                self._git("archive", "--output", str(archive), revision)
                with tarfile.open(archive) as tar:
                    tar.extractall(folder, filter="data")
                done = subprocess.run(
                    ["kubectl", "kustomize", f"{folder}/{path}"], capture_output=True, text=True, check=False
                )
            assert done.returncode == 0, done.stderr
            self._rendered[key] = list(yaml.safe_load_all(done.stdout))
        return self._rendered[key]

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class Controller:
    """Applies one folder of a repository, and prunes what is no longer in it. `judge` says what it waits for."""

    manager = ""
    ready: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    def __init__(self, url: str, repository: Repository, *, path: str = "orders", judge: Judge | None = None) -> None:
        self._base = url
        self._repository = repository
        self._path = path
        self._judge = judge
        self._client = httpx.AsyncClient(
            trust_env=False, headers={"Authorization": f"Bearer {TOKEN_PREFIX}{self.manager}"}
        )
        self._revision: str | None = None
        self._applied_steps = 0
        self._inventory: set[str] = set()
        self.synced = ""
        """The revision that was applied last, whole and ready."""

    async def __aenter__(self) -> "Controller":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def sync(self) -> str:
        """One round: of the revision at hand as long as it is not finished, else of the newest one."""
        if self._revision is None:
            self._revision, self._applied_steps = self._repository.head, 0
        wanted = self._repository.read(self._revision, self._path)
        steps = self._order(wanted)
        for number, step in enumerate(steps):
            if number >= self._applied_steps:
                for manifest in step:
                    await self._apply(manifest)
                self._applied_steps = number + 1
            if self._waits_for(number, len(steps)):
                words = {await self._find_word(manifest) for manifest in step}
                if words & set(self.failed):
                    self.give_up()
                    return FAILED
                if not words <= set(self.ready):
                    return WAITING
        await self._prune({self._url(manifest) for manifest in wanted})
        self.synced, self._revision = self._revision, None
        return SYNCED

    async def sync_often(self, rounds: int = 5) -> str:
        """Several rounds; the answer is the last one's."""
        word = ""
        for _ in range(rounds):
            word = await self.sync()
        return word

    def give_up(self) -> None:
        """End the round at hand, as a timeout or a person does; the next one takes the newest revision."""
        self._revision = None

    def _order(self, manifests: list[Manifest]) -> list[list[Manifest]]:
        return [manifests]

    def _waits_for(self, step: int, steps: int) -> bool:
        return self._judge is not None

    async def _find_word(self, manifest: Manifest) -> str:
        live = await self._get(manifest)
        assert self._judge is not None
        if manifest["kind"] != "Pipeline":
            return self.ready[0]
        return self._judge(live) if live is not None else ""

    async def _apply(self, manifest: Manifest) -> None:
        answer = await self._client.patch(
            self._url(manifest),
            params={"fieldManager": self.manager, "force": "true"},
            headers={"Content-Type": "application/apply-patch+yaml"},
            content=json.dumps(manifest),
        )
        assert answer.is_success, answer.text
        self._inventory.add(self._url(manifest))

    async def _prune(self, wanted: set[str]) -> None:
        for url in sorted(self._inventory - wanted):
            answer = await self._client.delete(url)
            assert answer.is_success or answer.status_code == 404, answer.text
        self._inventory = wanted

    async def _get(self, manifest: Manifest) -> Manifest | None:
        answer = await self._client.get(self._url(manifest))
        if answer.status_code == 404:
            return None
        assert answer.is_success, answer.text
        live: Manifest = answer.json()
        return live

    def _url(self, manifest: Manifest) -> str:
        metadata, kind = manifest["metadata"], manifest["kind"]
        place = f"{self._base}/{_PLACES[kind]}/namespaces/{metadata['namespace']}"
        return f"{place}/{kind.lower()}s/{metadata['name']}"


class Flux(Controller):
    """kustomize-controller: applies everything at once, takes back what kubectl wrote, then waits if it is to."""

    manager = "kustomize-controller"
    ready, failed = ("Current",), ("Failed",)

    async def _apply(self, manifest: Manifest) -> None:
        live = await self._get(manifest)
        merges = "Merge" in (manifest["metadata"].get("annotations") or {}).values()
        if live is not None and not merges:
            await self._take_over(manifest, live["metadata"].get("managedFields", []))
        await super()._apply(manifest)

    async def _take_over(self, manifest: Manifest, entries: list[Manifest]) -> None:
        """Fields of managers whose name begins with kubectl become the controller's own, and go if not in Git."""

        def is_theirs(entry: Manifest) -> bool:
            return str(entry["manager"]).startswith("kubectl") and not entry.get("subresource")

        def is_own(entry: Manifest) -> bool:
            return (entry["manager"], entry["operation"]) == (self.manager, "Apply")

        theirs = [entry for entry in entries if is_theirs(entry)]
        if not theirs:
            return
        first = next((entry for entry in entries if is_own(entry)), theirs[0])
        merged: dict[str, Any] = {}
        for entry in [entry for entry in entries if is_own(entry)] + theirs:
            merged = _union(merged, entry["fieldsV1"])
        kept = [entry for entry in entries if not is_theirs(entry) and not is_own(entry)]
        entries = [*kept, {**first, "manager": self.manager, "operation": "Apply", "fieldsV1": merged}]
        answer = await self._client.patch(
            self._url(manifest),
            headers={"Content-Type": "application/json-patch+json"},
            content=json.dumps([{"op": "replace", "path": "/metadata/managedFields", "value": entries}]),
        )
        assert answer.is_success, answer.text


class Argo(Controller):
    """Argo CD's application controller: wave by wave, and waits for all of them but the last."""

    manager = "argocd-controller"
    ready, failed = ("Healthy",), ("Degraded",)

    def _order(self, manifests: list[Manifest]) -> list[list[Manifest]]:
        def find_wave(manifest: Manifest) -> int:
            return int((manifest["metadata"].get("annotations") or {}).get(WAVE, "0"))

        waves = sorted({find_wave(manifest) for manifest in manifests})
        return [[manifest for manifest in manifests if find_wave(manifest) == wave] for wave in waves]

    def _waits_for(self, step: int, steps: int) -> bool:
        return self._judge is not None and step < steps - 1


def _union(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for key, value in two.items():
        merged[key] = _union(merged.get(key, {}), value)
    return merged
