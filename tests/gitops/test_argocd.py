"""Argo CD, customised as docs/gitops.md says, beside the operator."""

import json
from pathlib import Path

import pytest

from support import docs
from support.argocd import ArgoCD
from support.gitops import Argo
from support.shop import BLOCKS, NAMESPACE, Shop
from support.stage import GROUP


@pytest.mark.parametrize(("name", "verdict"), [("approve", "Approved"), ("reject", "Rejected")])
async def test_a_click_in_argo_cd_decides_and_self_healing_changes_nothing(
    shop: Shop, argocd: dict[str, ArgoCD], name: str, verdict: str
) -> None:
    customised = argocd["suspended-while-waiting"]
    async with Argo(shop.stage.kube.url, shop.repository) as controller:
        await controller.sync()
        shop.edit()
        await shop.roll_out()
        request = await shop.request()
        live = shop.pipeline
        assert customised.discover(live) == {"approve", "reject"}
        patch = json.dumps(customised.act(name, live))
        await shop.repository.run(
            f"kubectl -n {NAMESPACE} patch fpl orders --field-manager argocd-server --type merge --patch '{patch}'"
        )
        decision = await shop.reach(lambda status: status.get("history") and status["decision"])
        assert (decision["verdict"], decision["requestId"]) == (verdict, request["id"])
        assert decision["by"]["manager"] == "argocd-server"
        await controller.sync_often()
        await shop.stage.polls(3)
        assert len(shop.status["history"]) == 1
        assert shop.approved == [True] * (name == "approve")


async def test_argo_cd_is_customised_as_the_page_says(shop: Shop, tmp_path: Path) -> None:
    root = docs.DOCS.parent
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "namespace": "argocd"}}
    shop.stage.kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}})
    shop.stage.kube.put({**foreign, "data": {"url": "https://argocd.example.com"}})
    await shop.repository.run(f"cd {root}\n{BLOCKS['argocd-patch']}")
    patched = shop.stage.kube.get("configmaps", "argocd", "argocd-cm")
    assert patched is not None
    assert patched["data"]["url"] == "https://argocd.example.com"
    customised = ArgoCD(patched)
    assert customised.judge({"metadata": {}})[0] == "Progressing"
    page = (docs.DOCS / "gitops.md").read_text("utf-8")
    for name in customised.action_lua:
        assert f"action/{GROUP}/Pipeline/{name}, " in page
