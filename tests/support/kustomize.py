"""The manifests of `deploy/`, as `kubectl kustomize` renders them: each overlay with any choice of components."""

import functools
import itertools
import pathlib
import shutil
import subprocess
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = ("cluster-wide", "namespaced")
HOMES = {"cluster-wide": "pipeline-approver-system", "namespaced": "feldera"}
COMPONENTS = ("approve-verb", "approved-by", "four-eyes", "monitoring")
COMBINATIONS = [
    (overlay, chosen)
    for overlay in OVERLAYS
    for count in range(len(COMPONENTS) + 1)
    for chosen in itertools.combinations(COMPONENTS, count)
]
HEAD = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
IS_INSTALLED = shutil.which("kubectl") is not None

Manifest = dict[str, Any]


class Tree:
    """A copy of the repository's manifests, to write further kustomizations into."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        shutil.copytree(DEPLOY, folder / "deploy")
        shutil.copytree(ROOT / "crds", folder / "crds")

    def combine(self, overlay: str, chosen: tuple[str, ...] = ()) -> list[Manifest]:
        """An overlay with components."""
        folder = self.folder / "-".join((overlay, *chosen))
        folder.mkdir(exist_ok=True)
        components = "".join(f"\n  - ../deploy/components/{name}" for name in chosen)
        (folder / "kustomization.yaml").write_text(
            f"{HEAD}resources:\n  - ../deploy/overlays/{overlay}\ncomponents:{components or ' []'}\n"
        )
        return render(folder)

    def everything(self) -> list[Manifest]:
        """Every manifest of every combination, each once."""
        found = {}
        for overlay in OVERLAYS:
            for manifest in self.combine(overlay, COMPONENTS):
                found.setdefault(yaml.safe_dump(manifest), manifest)
        return list(found.values())


@functools.cache
def render(folder: pathlib.Path) -> list[Manifest]:
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.load_all(done.stdout, yaml.CSafeLoader))


def pick(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str = "pipeline-approver") -> Manifest:
    (found,) = [m for m in pick(manifests, kind) if m["metadata"]["name"] == name]
    return found


def identity(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]
