"""Syncs that wait for what they apply: which hold up their own approval, and the ways out that docs/gitops.md names."""

import pytest

from support import docs, flux, kstatus
from support.argocd import ArgoCD
from support.gitops import SYNCED, WAITING, Argo, Controller, Flux, Manifest
from support.shop import BLOCKS, ROUNDS, Shop

EXPRESSIONS: dict[str, str] = docs.read_yaml("gitops.md", "flux")["spec"]["healthCheckExprs"][0]
FOLLOWER = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: dashboard
  annotations:
    argocd.argoproj.io/sync-wave: "1"
data: {}
"""


async def begin(shop: Shop, controller: Controller) -> None:
    """Apply the first commit, and wait until all of it is ready."""
    await controller.sync()
    await shop.reach(lambda status: status.get("state") == "Running")
    assert await controller.sync() == SYNCED


async def change_that_waits(shop: Shop, controller: Controller) -> None:
    """A commit whose sync begins while the pipeline waits; then the commit that approves."""
    await begin(shop, controller)
    shop.edit()
    shop.repository.commit("Count the orders of a region")
    await shop.roll_out()
    await shop.request()
    await controller.sync()
    await shop.run("two-commits")


async def holds_up_its_approval(shop: Shop, controller: Controller) -> None:
    """The sync waits for the pipeline, and the commit that approves for the sync, until that is given up."""
    await change_that_waits(shop, controller)
    assert await controller.sync_often(ROUNDS) == WAITING
    await shop.stage.polls(2)
    assert shop.approved == []
    controller.give_up()
    await controller.sync()
    await shop.settle()
    assert await controller.sync() == SYNCED


def run_argo(shop: Shop, customised: ArgoCD) -> Argo:
    """Argo CD with the health of a customisation."""
    return Argo(shop.stage.kube.url, shop.repository, judge=lambda manifest: customised.judge(manifest)[0])


def add_follower(shop: Shop, *, pipeline_wave: str = "0") -> None:
    """Something in wave 1, and the Pipeline before or behind it."""
    shop.repository.write("orders/dashboard.yaml", FOLLOWER)
    kustomization = BLOCKS["kustomization"].replace("  - pipeline.yaml", "  - pipeline.yaml\n  - dashboard.yaml")
    shop.repository.write("orders/kustomization.yaml", kustomization)
    wave = f'metadata:\n  name: orders\n  annotations:\n    argocd.argoproj.io/sync-wave: "{pipeline_wave}"'
    shop.repository.write("orders/pipeline.yaml", BLOCKS["pipeline"].replace("metadata:\n  name: orders", wave))
    shop.repository.commit("Add a dashboard")


async def test_a_pipeline_that_waits_in_an_early_wave_holds_up_its_own_approval(
    shop: Shop, argocd: dict[str, ArgoCD]
) -> None:
    add_follower(shop)
    async with run_argo(shop, argocd["suspended-while-waiting"]) as controller:
        # The way out is `argocd app terminate-op`.
        await holds_up_its_approval(shop, controller)
    assert shop.approved == [True]


@pytest.mark.parametrize(
    ("variant", "pipeline_wave"),
    [("healthy-while-waiting", "0"), ("suspended-while-waiting", "2"), ("suspended-while-waiting", "1")],
    ids=["healthy while waiting", "last wave", "beside the last"],
)
async def test_the_ways_out_of_waves_that_wait(
    shop: Shop, argocd: dict[str, ArgoCD], variant: str, pipeline_wave: str
) -> None:
    add_follower(shop, pipeline_wave=pipeline_wave)
    async with run_argo(shop, argocd[variant]) as controller:
        await change_that_waits(shop, controller)
        await controller.sync_often()
        await shop.settle()
        assert await controller.sync_often() == SYNCED
        assert controller.synced == shop.repository.head
    assert shop.approved == [True]


async def test_a_digest_in_the_same_commit_never_waits_for_another_one(shop: Shop, argocd: dict[str, ArgoCD]) -> None:
    add_follower(shop)
    async with run_argo(shop, argocd["suspended-while-waiting"]) as controller:
        await begin(shop, controller)
        shop.edit()
        await shop.run("one-commit")
        await shop.roll_out()
        await shop.request()
        await controller.sync()
        await shop.settle()
        assert await controller.sync() == SYNCED
    assert shop.approved == [True]


async def test_flux_that_waits_for_kstatus_holds_up_the_approval_until_its_timeout(shop: Shop) -> None:
    async with Flux(shop.stage.kube.url, shop.repository, judge=kstatus.judge) as controller:
        await holds_up_its_approval(shop, controller)
    assert shop.approved == [True]


async def test_flux_with_the_expressions_goes_on_to_the_approval(shop: Shop) -> None:
    def judge(manifest: Manifest) -> str:
        return flux.judge(EXPRESSIONS, manifest)

    async with Flux(shop.stage.kube.url, shop.repository, judge=judge) as controller:
        await change_that_waits(shop, controller)
        await controller.sync()
        await shop.settle()
        assert await controller.sync() == SYNCED
        assert controller.synced == shop.repository.head
    assert shop.approved == [True]
