"""The recipes of docs/gitops.md, run as they are written there, against controllers that apply again and again."""

import json
from typing import Any

import pytest

from support import docs
from support.cases import make_diff
from support.gitops import SYNCED, Controller, Flux
from support.rollout import AFTER
from support.shop import BLOCKS, NAMESPACE, Shop
from support.stage import GROUP

AGAIN = AFTER.replace("1000", "2000")


async def test_one_commit_carries_the_change_and_its_approval(shop: Shop, controller: Controller) -> None:
    shop.edit()
    told = await shop.run("one-commit")
    assert "Reemits: 1 view added, 1 view modified" in told
    assert await controller.sync() == SYNCED
    await shop.roll_out()
    decision = await shop.settle()
    assert shop.approved == [True]
    assert decision["digest"] == shop.pipeline["metadata"]["annotations"][f"{GROUP}/approve"]
    assert decision["by"]["manager"] == controller.manager
    await shop.stays_as_it_is(controller)
    # The next change is not covered by it.
    shop.edit(AGAIN)
    shop.repository.commit("Raise the threshold")
    await shop.roll_out()
    request = await shop.request()
    await controller.sync_often()
    await shop.stage.polls(3)
    assert shop.status["request"] == request
    assert shop.status["ignored"][0]["reason"] == "OtherChange"
    assert shop.approved == [True]


@pytest.mark.parametrize("controller", ["Argo CD"], indirect=True)
async def test_the_order_of_rollout_and_sync_does_not_matter_for_a_digest(shop: Shop, controller: Controller) -> None:
    shop.edit()
    await shop.run("one-commit")
    await shop.roll_out()
    await shop.request()
    assert await controller.sync() == SYNCED
    await shop.settle()
    assert shop.approved == [True]


async def test_two_commits_the_second_approves_by_id(shop: Shop, controller: Controller) -> None:
    shop.edit()
    shop.repository.commit("Count the orders of a region")
    await controller.sync_often()
    await shop.roll_out()
    request = await shop.request()
    await shop.stays_as_it_is(controller)
    assert shop.approved == []
    await shop.run("two-commits")
    assert await controller.sync() == SYNCED
    decision = await shop.settle()
    assert decision["requestId"] == request["id"]
    assert shop.approved == [True]
    await shop.stays_as_it_is(controller)
    # The id stays in Git; the next request is another one.
    shop.edit(AGAIN)
    shop.repository.commit("Raise the threshold")
    await shop.roll_out()
    await shop.request()
    await shop.stays_as_it_is(controller)
    assert shop.status["ignored"][0]["reason"] == "StaleRequest"
    assert shop.approved == [True]


@pytest.mark.parametrize("controller", ["Argo CD"], indirect=True)
async def test_a_word_approves_one_request_and_a_new_word_another_one(shop: Shop, controller: Controller) -> None:
    shop.edit()
    await shop.run("word")
    assert await controller.sync() == SYNCED
    await shop.roll_out()
    await shop.settle()
    assert shop.approved == [True]
    await shop.stays_as_it_is(controller)
    shop.edit(AGAIN)
    shop.repository.commit("Raise the threshold; no release yet")
    await shop.roll_out()
    await shop.request()
    await shop.stays_as_it_is(controller)
    assert shop.status["ignored"][0]["reason"] == "UsedUp"
    assert shop.approved == [True]
    await shop.repository.run(BLOCKS["word"].replace("42", "43"))
    await controller.sync()
    await shop.reach(lambda status: len(status.get("history", [])) == 2)
    assert shop.approved == [True, True]


LEFT_OVER = [
    ("true", "Flux"),
    ("true@release-42", "Argo CD"),
    ("0123456789ab", "Flux"),
    ("sha256:" + "1" * 64, "Argo CD"),
    ("false", "Flux"),
    ("", "Argo CD"),
]


@pytest.mark.parametrize(("value", "controller"), LEFT_OVER, indirect=["controller"])
async def test_what_was_left_over_in_git_approves_nothing_more(shop: Shop, controller: Controller, value: str) -> None:
    """Whatever it is, after it was used once (if it can be), and although the controller heals it again and again."""
    shop.repository.write("orders/decision.yaml", BLOCKS["decision"].replace('""', f'"{value}"'))
    shop.edit()
    shop.repository.commit("Decide, and count the orders of a region")
    await controller.sync()
    await shop.roll_out()
    is_once = value.startswith("true")
    await (shop.settle() if is_once else shop.request())
    assert shop.approved == [True] * is_once
    await shop.stays_as_it_is(controller)
    shop.edit(AGAIN)
    await shop.roll_out()
    await shop.request()
    await shop.stays_as_it_is(controller)
    assert shop.approved == [True] * is_once


async def test_people_decide_in_the_cluster_where_git_has_no_annotation(shop: Shop, controller: Controller) -> None:
    shop.repository.write("orders/decision.yaml", BLOCKS["decision"].split("  annotations:")[0])
    shop.repository.commit("Decide in the cluster")
    shop.edit()
    await controller.sync()
    await shop.roll_out()
    request = await shop.request()
    await shop.run("kubectl")
    decision = await shop.settle()
    assert decision["requestId"] == request["id"]
    assert decision["by"] == {"via": "Annotation", "manager": "kubectl-annotate"}
    await controller.sync_often()
    kept = shop.pipeline["metadata"].get("annotations", {}).get(f"{GROUP}/approve")
    assert kept == (None if isinstance(controller, Flux) else request["id"])
    await shop.stage.polls(3)
    assert shop.approved == [True]
    assert shop.status["decision"] == decision


async def test_flux_keeps_what_kubectl_set_where_it_is_told_to_merge(shop: Shop) -> None:
    merge = "kustomize.toolkit.fluxcd.io/ssa"
    assert f"`{merge}: Merge`" in (docs.DOCS / "gitops.md").read_text("utf-8")
    shop.repository.write("orders/decision.yaml", BLOCKS["decision"].replace(f'{GROUP}/approve: ""', f"{merge}: Merge"))
    shop.repository.commit("Decide in the cluster")
    async with Flux(shop.stage.kube.url, shop.repository) as controller:
        await controller.sync()
        shop.edit()
        await shop.roll_out()
        request = await shop.request()
        await shop.run("kubectl")
        await shop.settle()
        await controller.sync_often()
        assert shop.pipeline["metadata"]["annotations"][f"{GROUP}/approve"] == request["id"]
    assert shop.approved == [True]


@pytest.mark.parametrize("controller", ["Flux"], indirect=True)
async def test_a_rejection_stops_the_pipeline_and_judges_one_request(shop: Shop, controller: Controller) -> None:
    shop.edit()
    shop.repository.commit("Count the orders of a region")
    await controller.sync()
    await shop.roll_out()
    request = await shop.request()
    await shop.run("reject")
    await controller.sync()
    decision = await shop.settle("Stopped")
    assert (decision["verdict"], decision["requestId"]) == ("Rejected", request["id"])
    await shop.reach(lambda status: status.get("state") == "Stopped")
    await shop.stays_as_it_is(controller)
    stops = len(shop.stage.feldera.stops)
    # The next one is asked for anew, and approved although the rejection stays in Git.
    await shop.roll_out()
    second = await shop.request()
    assert second["id"] != request["id"]
    await shop.run("two-commits")
    await controller.sync()
    await shop.settle()
    assert shop.approved == [True]
    # The rollout itself stops the pipeline once.
    assert len(shop.stage.feldera.stops) == stops + 1


@pytest.mark.parametrize("controller", ["Flux"], indirect=True)
async def test_approve_and_reject_of_one_request_in_git_decide_nothing(shop: Shop, controller: Controller) -> None:
    shop.edit()
    shop.repository.commit("Count the orders of a region")
    await shop.roll_out()
    await controller.sync()
    await shop.request()
    await shop.run("reject")
    await shop.run("two-commits")
    await controller.sync()
    await shop.reach(lambda status: find(status, "ApprovalRequired")["reason"] == "Conflict")
    await shop.stays_as_it_is(controller)
    assert shop.approved == []


async def test_what_somebody_changes_in_the_cluster_is_healed_and_decides_nothing_more(
    shop: Shop, controller: Controller
) -> None:
    shop.edit()
    await shop.run("one-commit")
    await controller.sync()
    await shop.roll_out()
    await shop.settle()
    for change in ("approve-", "approve=0123456789ab", "approve=false"):
        await shop.repository.run(f"kubectl -n {NAMESPACE} annotate fpl orders --overwrite {GROUP}/{change}")
        await controller.sync_often()
        await shop.stage.polls(2)
        shop.has_no_drift()
    assert shop.approved == [True]
    await shop.stays_as_it_is(controller)


@pytest.mark.parametrize(
    ("block", "approvals", "controller"),
    [("one-commit", 2, "Flux"), ("two-commits", 1, "Argo CD"), ("word", 2, "Flux")],
    indirect=["controller"],
)
async def test_a_pipeline_that_is_created_again_has_forgotten_what_was_used_up(
    shop: Shop, controller: Controller, block: str, approvals: int
) -> None:
    """An id is bound to the resource; a digest still stands for its change, and a `true` is fresh."""
    shop.edit()
    if block != "two-commits":
        await shop.run(block)
    await controller.sync()
    await shop.roll_out()
    if block == "two-commits":
        await shop.request()
        await shop.run(block)
        await controller.sync()
    await shop.settle()
    assert shop.approved == [True]
    uid = shop.pipeline["metadata"]["uid"]
    # Out of Git, so it is pruned: at once, and without a word to Feldera.
    kustomization = (shop.repository.folder / "orders/kustomization.yaml").read_text()
    shop.repository.write("orders/kustomization.yaml", "resources: []\n")
    shop.repository.commit("Take the Pipeline out")
    await controller.sync()
    assert shop.stage.kube.get("pipelines", NAMESPACE, "orders") is None
    assert shop.stage.feldera.pipelines["orders"].row.resources == "Provisioned"
    # The same change is asked for again.
    shop.stage.feldera.ask("orders", diff=json.loads(make_diff(added_views=["big_orders"], modified_views=["totals"])))
    shop.repository.write("orders/kustomization.yaml", kustomization)
    shop.repository.commit("Bring it back")
    await controller.sync()
    assert shop.pipeline["metadata"]["uid"] != uid
    await shop.reach(lambda status: status.get("decision") or status.get("ignored"))
    await controller.sync_often()
    await shop.stage.polls(3)
    assert len(shop.approved) == approvals


@pytest.mark.parametrize("controller", ["Flux"], indirect=True)
async def test_a_word_that_comes_back_approves_nothing(shop: Shop, controller: Controller) -> None:
    """Somebody overwrites Git's used-up word in the cluster; that Git restores it is no decision."""
    shop.edit()
    await shop.run("word")
    await controller.sync()
    await shop.roll_out()
    await shop.settle()
    await shop.repository.run(f"kubectl -n {NAMESPACE} annotate fpl orders --overwrite {GROUP}/approve=0123456789ab")
    await shop.stage.polls(3)
    await controller.sync()
    shop.edit(AGAIN)
    await shop.roll_out()
    await shop.reach(lambda status: [entry["reason"] for entry in status.get("ignored", [])] == ["UsedUp"])
    await shop.stage.polls(5)
    assert shop.approved == [True]


def find(status: dict[str, Any], type_: str) -> dict[str, Any]:
    """One condition; empty texts when it is not there."""
    conditions = status.get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == type_), {"reason": "", "status": ""})


def test_every_block_of_the_page_is_run_or_read() -> None:
    files = {"kustomization", "pipeline", "decision", "rollout"}
    commands = {"one-commit", "two-commits", "word", "kubectl", "reject", "argocd-patch"}
    assert set(BLOCKS) == files | commands | {"argocd", "flux"}
