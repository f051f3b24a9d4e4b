"""Fixtures that all tests share, and how long they search for counter-examples."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from support.cluster import Cluster
    from support.stage import Stage

# The same short search with every run, so that it fails for a change and for nothing else; with
# HYPOTHESIS_PROFILE=long a long one, another one every time. No deadline: nothing here is timed.
hypothesis.settings.register_profile("suite", max_examples=60, deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("long", max_examples=5000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator["Stage"]:
    """Both simulated servers."""
    # Here, and not above: tests of the pure rules need neither server.
    from support.stage import Stage

    async with Stage(tmp_path) as stage:
        yield stage


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Cluster"]:
    """A real API server with our manifests; tests that use it carry the mark e2e."""
    from support.cluster import Cluster

    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without a server, a run of nothing but such tests says how to get one, once and not for each test."""
    if not session.items or any(item.get_closest_marker("e2e") is None for item in session.items):
        return
    from pipeline_approver.sandbox import real

    try:
        for name in ("etcd", "kube-apiserver"):
            real.find_binary(name)
    except real.ServerMissing as error:
        pytest.exit(f"these tests need a real Kubernetes API server: {error}", returncode=1)
