"""Removing the product leaves nothing behind that cannot be deleted, whether the operator lives or not."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster import SYSTEM, TEAM, Cluster
from support.real import RealStage
from support.stage import GROUP

pytestmark = pytest.mark.e2e

KINDS = "serviceaccounts,roles,rolebindings,services,networkpolicies,deployments,leases,events,configmaps,secrets"


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A server that nobody needs afterwards."""
    (tmp_path / "own").mkdir()
    cluster = Cluster(tmp_path / "own")
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


async def test_everything_goes_at_once(own_cluster: Cluster, tmp_path: Path) -> None:
    async with RealStage(tmp_path, own_cluster) as ground:
        for name in ("waits", "runs", "decided"):
            ground.feldera.add(name, state="Running" if name == "runs" else "AwaitingApproval")
            ground.create(name, annotations={"approve": "true"} if name == "decided" else {})
        async with ground.operated_by():
            await ground.request("waits")
            await ground.outcome("decided", "Bootstrapped")
            await ground.reach("runs", lambda status: status.get("state") == "Running")
            held_back = [item for item in ground.kube.list("pipelines") if item["metadata"].get("finalizers")]
            assert held_back == []
            assert await ground.kubectl("delete", "fpl", "runs", "--timeout=20s")
        # With no operator any more.
        assert await ground.kubectl("delete", "fpl", "waits", "--timeout=20s")
        await asyncio.to_thread(uninstall, own_cluster, "namespaced")
        assert [item["metadata"]["name"] for item in ground.kube.list("pipelines")] == ["decided"]
        await asyncio.to_thread(uninstall, own_cluster, "cluster-wide")
        kinds = await ground.cluster.kubectl("api-resources", f"--api-group={GROUP}", "-o", "name")
        assert kinds == ""
        for namespace in (SYSTEM, TEAM, ground.namespace):
            left = yaml.safe_load(await ground.cluster.kubectl("-n", namespace, "get", KINDS, "-o", "yaml"))
            assert [item for item in left["items"] if is_ours(item) or item["metadata"].get("finalizers")] == []
        roles = yaml.safe_load(await ground.cluster.kubectl("get", "clusterroles,clusterrolebindings", "-o", "yaml"))
        assert [item for item in roles["items"] if is_ours(item)] == []


def uninstall(cluster: Cluster, overlay: str) -> None:
    """`kubectl delete -k`. A namespace is not waited for: its end needs a controller that no test server has."""
    manifests = cluster.manifests(overlay)
    namespaces = [manifest for manifest in manifests if manifest["kind"] == "Namespace"]
    rest = [manifest for manifest in manifests if manifest not in namespaces]
    cluster.run_kubectl("delete", "--timeout=30s", "-f", "-", stdin=yaml.safe_dump_all(rest))
    if namespaces:
        cluster.run_kubectl("delete", "--wait=false", "-f", "-", stdin=yaml.safe_dump_all(namespaces))


def is_ours(item: dict[str, Any]) -> bool:
    return item["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") == "pipeline-approver"
