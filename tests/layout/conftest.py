"""What renders manifests: kubectl's kustomize, and Helm."""

from collections.abc import Iterator

import pytest

from support import helm as helm_library
from support import kustomize


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> kustomize.Tree:
    if not kustomize.IS_INSTALLED:
        pytest.skip("kubectl is not on the PATH: THE MANIFESTS ARE NOT RENDERED")
    return kustomize.Tree(tmp_path_factory.mktemp("rendered"))


@pytest.fixture(scope="session")
def helm() -> Iterator[helm_library.Helm]:
    if not helm_library.IS_INSTALLED:
        pytest.skip("helm-python-sdk is not there (no wheel for this machine): THE CHART IS NOT RENDERED")
    with helm_library.run_helm() as helm:
        yield helm
