"""Whatever happens to the API server and its store, a decision is neither lost nor carried out twice."""

import asyncio
import json
import urllib.request
from typing import Any

import pytest

from support.real import RealStage
from support.stage import API, wait_until

pytestmark = pytest.mark.e2e

NAME = "orders"
ETCD_PAUSE_SECONDS = 10


async def begin(ground: RealStage) -> str:
    """A pipeline waits for approval, and the operator shows it; the deployment id."""
    ground.feldera.add(NAME)
    deployment_id = ground.feldera.ask(NAME)
    ground.create(NAME)
    await ground.request(NAME)
    return deployment_id


async def end(ground: RealStage, deployment_id: str) -> None:
    """The approval comes to its right end, once."""
    await ground.reach(NAME, lambda status: status.get("decision", {}).get("checkpoint") == "Durable")
    status = ground.status(NAME)
    assert status["decision"]["outcome"] == "Bootstrapped"
    assert len(status["history"]) == 1
    assert [record.deployment_id for record in ground.feldera.approvals if record.effective] == [deployment_id]
    assert ground.feldera.counts[("POST", "/v0/pipelines/{name}/approve", "")] == 1


def watches(ground: RealStage) -> int:
    return sum(request.verb == "watch" for request in ground.operated())


async def test_a_watch_that_is_cut_is_taken_up_where_it_was(ground: RealStage) -> None:
    async with ground.operated_by():
        deployment_id = await begin(ground)
        before = watches(ground)
        held = ground.kube.gate.hold(("watch", "pipelines"))
        ground.kube.cut_watches()
        await held.reached.wait()
        ground.annotate(NAME, approve="true")
        ground.kube.faults.holds.remove(held)
        held.release()
        await end(ground, deployment_id)
        assert watches(ground) > before


def compact(ground: RealStage, revision: int) -> None:
    """Have the store forget everything before a revision."""
    body = json.dumps({"revision": str(revision), "physical": True}).encode()
    request = urllib.request.Request(f"{ground.cluster.server.etcd_url}/v3/kv/compaction", data=body)
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200


async def test_a_watch_whose_past_is_forgotten_begins_anew_and_misses_nothing(ground: RealStage) -> None:
    server = ground.cluster.server
    path = f"/apis/{API}/namespaces/{ground.namespace}/pipelines"
    async with ground.operated_by("--resync-interval", "1") as operator:
        deployment_id = await begin(ground)
        ground.create("gone")
        await ground.reach("gone", lambda status: status.get("state") == "NotFound")
        known = server.request("GET", path)[1]["metadata"]["resourceVersion"]
        held = ground.kube.gate.hold(("watch", "pipelines"))
        ground.kube.cut_watches()
        await held.reached.wait()

        ground.feldera.add("late", state="AwaitingApproval")
        ground.create("late")
        assert server.request("DELETE", f"{path}/gone")[0] == 200
        ground.annotate(NAME, approve="true")
        compact(ground, int(server.request("GET", path)[1]["metadata"]["resourceVersion"]))
        await ground.cluster.kill()
        await ground.cluster.restart()
        _, told = server.request("GET", f"{path}?watch=1&timeoutSeconds=5&resourceVersion={known}")
        assert (told["type"], told["object"]["code"]) == ("ERROR", 410)

        ground.kube.faults.holds.remove(held)
        held.release()
        await end(ground, deployment_id)
        await ground.request("late")
        await operator.says("gone: vanished while the watch was down")


@pytest.mark.parametrize("where", ["before", "after"])
async def test_the_api_server_is_killed_in_the_middle_of_an_approval(ground: RealStage, where: str) -> None:
    server = ground.cluster.server
    ground.use(server.url)
    async with ground.operated_by() as operator:
        deployment_id = await begin(ground)
        held = ground.feldera.hold(("POST", "approve"), where=where)
        ground.annotate(NAME, approve="true")
        await held.reached.wait()
        await ground.cluster.kill()
        held.release()
        await wait_until(lambda: ground.feldera.pipelines[NAME].phase == "Running", "Feldera goes on")
        await operator.says("the Kubernetes API could not be used, trying again")
        await ground.cluster.restart()
        await end(ground, deployment_id)


async def test_the_api_server_is_killed_before_the_intent_is_on_record(ground: RealStage) -> None:
    async with ground.operated_by() as operator:
        deployment_id = await begin(ground)
        held = ground.kube.gate.hold(("patch", "pipelines/status"))
        ground.annotate(NAME, approve="true")
        await held.reached.wait()
        await ground.cluster.kill()
        ground.kube.faults.holds.remove(held)
        held.release()
        await operator.says("the Kubernetes API could not be used, trying again")
        assert ground.feldera.approvals == []
        await ground.cluster.restart()
        await end(ground, deployment_id)


@pytest.mark.parametrize("match", [("GET", "get"), ("POST", "approve")])
async def test_the_store_stands_still_in_the_middle_of_an_approval(ground: RealStage, match: tuple[str, str]) -> None:
    server = ground.cluster.server
    ground.use(server.url)
    async with ground.operated_by():
        deployment_id = await begin(ground)
        held = ground.feldera.hold(match, where="after")
        ground.annotate(NAME, approve="true")
        await held.reached.wait()
        server.pause_etcd()
        try:
            ground.feldera.faults.holds.remove(held)
            held.release()
            # This is the length of the outage, and nothing is waited for.
            await asyncio.sleep(ETCD_PAUSE_SECONDS)
        finally:
            server.resume_etcd()
        await end(ground, deployment_id)


async def test_somebody_writes_between_the_operators_read_and_its_write(ground: RealStage) -> None:
    """The operator decides anew from what it finds: the approval was taken back, so nothing is approved."""
    async with ground.operated_by() as operator:
        await begin(ground)
        held = ground.kube.gate.hold(("patch", "pipelines/status"))
        ground.annotate(NAME, approve="true")
        await held.reached.wait()
        ground.annotate(NAME, approve=None)
        ground.kube.faults.holds.remove(held)
        held.release()
        await wait_until(lambda: 409 in conflicts(ground), "the write is refused")
        await ground.polls(3)
        assert ground.feldera.approvals == []
        assert "decision" not in ground.status(NAME)
        ground.annotate(NAME, approve="true@2")
        await ground.outcome(NAME, "Bootstrapped")
        assert operator.complaints() == []


def conflicts(ground: RealStage) -> list[int]:
    return [request.code for request in ground.operated() if request.resource.endswith("pipelines/status")]


async def test_many_write_at_once_and_one_decision_is_made(ground: RealStage) -> None:
    """Two operators, and people who annotate all the time."""
    deployments = {}
    names = [f"p{number}" for number in range(5)]
    for name in names:
        ground.feldera.add(name)
        deployments[name] = ground.feldera.ask(name)
        ground.create(name)
    async with ground.operated_by(), ground.operated_by():
        for name in names:
            await ground.request(name)
            ground.annotate(name, approve="true")
            ground.annotate(name, reason="a")
        for name in names:
            ground.annotate(name, reason="b", approved_by="alice")
        for name in names:
            await ground.outcome(name, "Bootstrapped")
    approved: dict[str, Any] = {record.name: record.deployment_id for record in ground.feldera.approvals}
    assert approved == deployments
    assert len(ground.feldera.approvals) == len(names)
