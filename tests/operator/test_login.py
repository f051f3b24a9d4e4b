"""Credentials that run out while the operator watches."""

import asyncio
import json

import pytest

from pipeline_approver.app import run_operator
from pipeline_approver.life import StartupFailed
from pipeline_approver.settings import Settings
from support.stage import PATIENCE_SECONDS, SETTINGS, Stage, wait_until


async def test_newer_credentials_are_used_when_the_old_ones_are_refused(stage: Stage) -> None:
    stage.feldera.add("orders", state="AwaitingApproval")
    stage.create("orders")
    async with stage.operator():
        await stage.request("orders")
        await wait_until(lambda: stage.kube.counts["watch", "pipelines"])
        # As with the token of a service account: the file has a new one long before the old one is refused.
        stage.kubeconfig.write_text(json.dumps(stage.kube.kubeconfig("rotated")))
        stage.kube.faults.add(("watch", "pipelines"), kind="status", status=401)
        stage.kube.cut_watches("pipelines")
        stage.annotate("orders", approve="true")
        await stage.outcome("orders", "Bootstrapped")
        watchers = [record.user for record in stage.kube.requests if record.verb == "watch"]
    assert watchers[-1] == "rotated"


async def test_a_proxy_of_the_environment_is_used_for_the_watch_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.feldera.add("orders", state="AwaitingApproval")
    kubeconfig = stage.kube.kubeconfig()
    kubeconfig["clusters"][0]["cluster"]["server"] = "http://cluster.invalid"
    stage.kubeconfig.write_text(json.dumps(kubeconfig))
    # The server takes the requests to a proxy as its own.
    monkeypatch.setenv("http_proxy", stage.kube.url)
    async with stage.operator():
        stage.create("orders")
        await stage.request("orders")
        assert stage.kube.counts["watch", "pipelines"]


async def test_credentials_that_are_refused_for_good_end_the_operator_with_what_to_do(stage: Stage) -> None:
    """It would be deaf otherwise. The same credentials again are no newer ones: nobody asks with them for ever."""
    stage.create("orders")
    stage.select()
    running = asyncio.create_task(run_operator(Settings(**SETTINGS), stage.environ, stop_flag=asyncio.Event()))
    await wait_until(lambda: stage.kube.counts["watch", "pipelines"])
    stage.kube.faults.add(("watch", "pipelines"), kind="status", status=401, times=None)
    asked = stage.kube.counts["watch", "pipelines"]
    stage.kube.cut_watches("pipelines")
    with pytest.raises(StartupFailed, match=r"does not accept the credentials .*\(401\).*log in again"):
        await asyncio.wait_for(running, PATIENCE_SECONDS)
    assert stage.kube.counts["watch", "pipelines"] == asked + 1
