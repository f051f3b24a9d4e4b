"""One call is one request: whether and when to try again is for whoever called to say."""

import asyncio

import pytest

from pipeline_approver.kube import errors
from pipeline_approver.kube.api import KubeApi
from support.stage import PATIENCE_SECONDS, Stage


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_the_clients_transport_does_not_try_again_by_itself(stage: Stage, status: int) -> None:
    kube = await KubeApi.from_kubeconfig(stage.kube.kubeconfig())
    stage.kube.faults.add(("*", "*"), kind="status", status=status, times=None)
    lease = {"metadata": {"name": "one", "namespace": "default", "resourceVersion": "1"}}
    calls = {
        ("get", "pipelines"): lambda: kube.get_pipeline("default", "orders"),
        ("list", "pipelines"): lambda: kube.list_pipeline_uids(None),
        ("update", "leases"): lambda: kube.update_lease("default", lease),
        ("patch", "pipelines/status"): lambda: kube.patch_status("default", "orders", resource_version="1", status={}),
    }
    for what, call in calls.items():
        async with asyncio.timeout(PATIENCE_SECONDS):
            with pytest.raises(errors.Unavailable):
                await call()
        assert stage.kube.counts[what] == 1, what
    await kube.aclose()
