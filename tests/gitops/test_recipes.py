"""The recipes of docs/gitops.md, run as they are written there, against controllers that apply again and again."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from support import docs, flux, kstatus
from support.argocd import ArgoCD
from support.cases import make_diff
from support.gitops import SYNCED, WAITING, Argo, Controller, Flux, Manifest, Repository
from support.rollout import AFTER, BEFORE
from support.stage import GROUP, Stage

BLOCKS = docs.read_blocks("gitops.md")
KEY = "apikey:writer"
NAMESPACE = "shop"
ROUNDS = 6
EXPRESSIONS: dict[str, str] = docs.read_yaml("gitops.md", "flux")["spec"]["healthCheckExprs"][0]
AGAIN = AFTER.replace("1000", "2000")
KINDS: dict[str, type[Controller]] = {"Flux": Flux, "Argo CD": Argo}


class Shop:
    """A team's repository, its pipeline, and the stage they are on."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        environ = {**stage.environ, "FELDERA_API_KEY": KEY}
        self.repository = Repository(folder / "repository", environ)
        for name in ("kustomization", "pipeline", "decision"):
            self.repository.write(f"orders/{name}.yaml", BLOCKS[name])
        self.repository.write("orders/orders.sql", BEFORE)
        self.repository.write("rollout.sh", BLOCKS["rollout"])
        self.repository.commit("Begin")
        stage.feldera.gate.api_keys = {KEY: "write"}
        stage.kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        stage.feldera.add("orders", program=BEFORE)
        self.operator_environ = environ

    def edit(self, program: str = AFTER) -> None:
        """Change the SQL in the working copy."""
        self.repository.write("orders/orders.sql", program)

    async def run(self, block: str) -> str:
        """Run a block of the page."""
        return await self.repository.run(BLOCKS[block])

    async def roll_out(self) -> None:
        """What CI does after a merge."""
        await self.repository.run("source rollout.sh")

    @property
    def pipeline(self) -> Manifest:
        """The Pipeline as it is."""
        return self.stage.get("orders", NAMESPACE)

    @property
    def status(self) -> dict[str, Any]:
        """Its status."""
        return self.stage.status("orders", NAMESPACE)

    async def reach(self, is_reached: Callable[[dict[str, Any]], Any]) -> Any:
        """Wait until the status is so."""
        return await self.stage.reach("orders", is_reached, NAMESPACE)

    async def request(self) -> dict[str, Any]:
        """The request that waits."""
        found: dict[str, Any] = await self.reach(lambda status: status.get("request"))
        return found

    async def settle(self, outcome: str = "Bootstrapped") -> dict[str, Any]:
        """The decision once it is at its end, checkpoint and all."""

        def look(status: dict[str, Any]) -> Any:
            decision = status.get("decision", {})
            durable = outcome != "Bootstrapped" or decision.get("checkpoint") == "Durable"
            return decision.get("outcome") == outcome and durable and decision

        found: dict[str, Any] = await self.reach(look)
        return found

    async def stays_as_it_is(self, controller: Controller) -> None:
        """Many more rounds and polls: no write by the operator, none that changes anything by the controller."""
        await controller.sync()
        await self.stage.polls(2)
        before, decided = self.pipeline, len(self.stage.feldera.approvals)
        writes = self.stage.kube.counts[("patch", "pipelines/status")]
        for _ in range(ROUNDS):
            assert await controller.sync() == SYNCED
        await self.stage.polls(3)
        assert self.pipeline["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        assert self.stage.kube.counts[("patch", "pipelines/status")] == writes
        assert len(self.stage.feldera.approvals) == decided
        self.has_no_drift()

    def has_no_drift(self) -> None:
        """What is in Git is in the cluster, and nothing else but defaults and the status."""
        [wanted] = self.repository.read(self.repository.head, "orders")
        live = self.pipeline
        annotations = wanted["metadata"].get("annotations", {})
        assert live["metadata"].get("annotations", {}) == annotations
        assert not {"labels", "finalizers", "ownerReferences"} & set(live["metadata"])
        assert live["spec"] == {"checkpoint": "AfterBootstrap", "suspend": False, **wanted["spec"]}

    @property
    def approved(self) -> list[bool]:
        """The approvals that reached Feldera: whether each had an effect."""
        return [approval.effective for approval in self.stage.feldera.approvals]


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
    judge = argocd["suspended-while-waiting"].judge
    async with Argo(shop.stage.kube.url, shop.repository, judge=lambda manifest: judge(manifest)[0]) as controller:
        await change_that_waits(shop, controller)
        assert await controller.sync_often(ROUNDS) == WAITING
        await shop.stage.polls(2)
        assert shop.approved == []
        # `argocd app terminate-op`
        controller.give_up()
        await controller.sync()
        await shop.settle()
        assert await controller.sync() == SYNCED
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
    judge = argocd[variant].judge
    async with Argo(shop.stage.kube.url, shop.repository, judge=lambda manifest: judge(manifest)[0]) as controller:
        await change_that_waits(shop, controller)
        await controller.sync_often()
        await shop.settle()
        assert await controller.sync_often() == SYNCED
        assert controller.synced == shop.repository.head
    assert shop.approved == [True]


async def test_a_digest_in_the_same_commit_never_waits_for_another_one(shop: Shop, argocd: dict[str, ArgoCD]) -> None:
    add_follower(shop)
    judge = argocd["suspended-while-waiting"].judge
    async with Argo(shop.stage.kube.url, shop.repository, judge=lambda manifest: judge(manifest)[0]) as controller:
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
        await change_that_waits(shop, controller)
        assert await controller.sync_often(ROUNDS) == WAITING
        await shop.stage.polls(2)
        assert shop.approved == []
        controller.give_up()
        await controller.sync()
        await shop.settle()
        assert await controller.sync() == SYNCED
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


def test_every_block_of_the_page_is_run_or_read() -> None:
    files = {"kustomization", "pipeline", "decision", "rollout"}
    commands = {"one-commit", "two-commits", "word", "kubectl", "reject", "argocd-patch"}
    assert set(BLOCKS) == files | commands | {"argocd", "flux"}
