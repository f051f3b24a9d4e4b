"""Fixtures for the tests of GitOps tools."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from support import docs
from support.argocd import ArgoCD
from support.gitops import SYNCED, Argo, Controller, Flux
from support.shop import Shop
from support.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
KINDS: dict[str, type[Controller]] = {"Flux": Flux, "Argo CD": Argo}
VARIANTS = ("suspended-while-waiting", "healthy-while-waiting")
FOREIGN = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "argocd-cm", "labels": {"app.kubernetes.io/part-of": "argocd"}},
    "data": {"url": "https://argocd.example.com"},
}


@pytest.fixture(scope="session")
def argocd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ArgoCD]:
    """Argo CD with each variant of the customisations, taken in as a component by a kustomization of Argo CD."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on the PATH: THE CUSTOMISATIONS OF ARGO CD ARE NOT TESTED")
    folder = tmp_path_factory.mktemp("argocd")
    shutil.copytree(ROOT / "deploy" / "argocd", folder / "deploy" / "argocd")
    found = {}
    for variant in VARIANTS:
        own = folder / variant
        own.mkdir()
        (own / "install.yaml").write_text(yaml.safe_dump(FOREIGN))
        kustomization = docs.read_blocks("gitops.md")["argocd"].replace(VARIANTS[0], variant)
        (own / "kustomization.yaml").write_text(kustomization)
        done = subprocess.run(["kubectl", "kustomize", str(own)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        (config_map,) = yaml.safe_load_all(done.stdout)
        assert config_map["data"]["url"] == FOREIGN["data"]["url"]  # type: ignore[index]
        found[variant] = ArgoCD(config_map)
    return found


@pytest.fixture
async def shop(stage: Stage, tmp_path: Path) -> AsyncIterator[Shop]:
    """The stage, with a repository and an operator; the pipeline runs its first program."""
    shop = Shop(stage, tmp_path)
    async with stage.operator(environ=shop.operator_environ):
        yield shop


@pytest.fixture(params=list(KINDS))
async def controller(shop: Shop, request: pytest.FixtureRequest) -> AsyncIterator[Controller]:
    """A controller that has applied the first commit."""
    kind: type[Controller] = KINDS[request.param]
    async with kind(shop.stage.kube.url, shop.repository) as controller:
        assert await controller.sync() == SYNCED
        await shop.reach(lambda status: status.get("state") == "Running")
        yield controller
