"""What the watch brings, what it never brings, and what stands in the way of starting."""

import asyncio
import copy

import pytest

from pipeline_approver.app import StartupFailed
from pipeline_approver.sandbox.feldera import pipeline_diff
from support.stage import PATIENT, Stage, wait_until

DIFF = pipeline_diff(added_views=["daily"])


def create_twins(stage: Stage) -> list[str]:
    """Two Pipelines for the pipeline orders, the older one first; of the same second, the uid tells."""
    for name in ("one", "other"):
        stage.create(name, pipelineName="orders")

    def find_age(name: str) -> tuple[str, str]:
        metadata = stage.get(name)["metadata"]
        return metadata["creationTimestamp"], metadata["uid"]

    return sorted(("one", "other"), key=find_age)


async def test_pipelines_that_were_there_before_are_taken_in(stage: Stage) -> None:
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    stage.create("orders", annotations={"approve": "true"})
    async with stage.operator():
        await stage.outcome("orders", "Bootstrapped")
    assert len(stage.feldera.approvals) == 1


async def test_a_watch_that_breaks_or_expires_loses_nothing(stage: Stage) -> None:
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    stage.feldera.add("payments", state="AwaitingApproval", diff=DIFF)
    async with stage.operator():
        stage.create("orders")
        request = await stage.request("orders")
        stage.kube.cut_watches()
        stage.annotate("orders", approve=request["id"])
        await stage.outcome("orders", "Bootstrapped")
        stage.kube.expire_watches()
        stage.create("payments", annotations={"approve": "true"})
        await stage.outcome("payments", "Bootstrapped")
    assert len(stage.feldera.approvals) == 2


async def test_a_pipeline_that_vanished_unseen_is_forgotten(stage: Stage) -> None:
    """kopf never tells of objects that vanish while the watch is down; a phantom must not rule over a newer twin."""
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    async with stage.operator(resync_seconds=0.2):
        older, younger = create_twins(stage)
        await stage.request(older)
        await stage.reach(younger, lambda status: status.get("state") == "Duplicate")
        stage.kube.pause_watches()
        stage.kube.delete("pipelines", "default", older)
        stage.kube.expire_watches()
        stage.kube.resume_watches()
        await stage.request(younger)


async def test_a_decision_that_the_watch_does_not_tell_of_is_found(stage: Stage) -> None:
    """A connection that is dead, and nobody was told, looks like a watch on which nothing happens."""
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    stage.create("orders")
    async with stage.operator(resync_seconds=0.2):
        request = await stage.request("orders")
        stage.kube.pause_watches()
        stage.annotate("orders", approve=request["id"])
        await stage.outcome("orders", "Bootstrapped")
        stage.kube.resume_watches()
    assert len(stage.feldera.approvals) == 1


async def test_a_pipeline_that_was_created_again_starts_anew(stage: Stage) -> None:
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    async with stage.operator():
        stage.create("orders")
        first = await stage.request("orders")
        stage.kube.delete("pipelines", "default", "orders")
        # The id of the first belongs to the first: the resource that replaces it asks under another id.
        stage.create("orders", annotations={"approve": first["id"]})
        second = await stage.request("orders")
        assert second["id"] != first["id"]
        assert second["digest"] == first["digest"]
        await stage.polls(3)
    assert not stage.feldera.approvals


async def test_of_two_for_one_pipeline_the_older_rules_and_the_younger_says_why(stage: Stage) -> None:
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    async with stage.operator():
        older, younger = create_twins(stage)
        await stage.request(older)
        stage.annotate(younger, approve="true")
        await stage.reach(younger, lambda status: status.get("state") == "Duplicate")
        stalled = stage.condition(younger, "Stalled")
        assert stalled["status"] == "True"
        assert f"default/{older} is older" in stalled["message"]
        await stage.polls(3)
        assert not stage.feldera.approvals
        stage.change(older, pipelineName="another")
        await stage.outcome(younger, "Bootstrapped")
    assert len(stage.feldera.approvals) == 1


async def test_twins_of_the_same_second_are_told_apart_the_same_way_by_everybody(stage: Stage) -> None:
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    names = [f"twin{number}" for number in range(4)]
    for name in names:
        stage.create(name, pipelineName="orders", annotations={"approve": "true"})
    async with stage.operator(), stage.operator():
        await wait_until(lambda: stage.feldera.approvals and all("state" in stage.status(name) for name in names))
        await stage.polls(6)
        states = sorted(stage.status(name)["state"] for name in names)
    assert states.count("Duplicate") == 3
    assert len(stage.feldera.approvals) == 1


async def test_only_the_namespaces_that_were_named_are_watched(stage: Stage) -> None:
    for namespace in ("one", "two", "three"):
        stage.kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        stage.feldera.add(f"orders-{namespace}", state="AwaitingApproval", diff=DIFF)
        stage.create(f"orders-{namespace}", namespace=namespace, annotations={"approve": "true"})
    async with stage.operator(namespaces=("one", "two")):
        await stage.reach("orders-one", lambda status: status.get("history"), "one")
        await stage.reach("orders-two", lambda status: status.get("history"), "two")
        await stage.polls(3)
    assert "state" not in stage.status("orders-three", "three")
    assert {approval.name for approval in stage.feldera.approvals} == {"orders-one", "orders-two"}


async def test_without_the_definition_it_ends_and_says_what_to_apply(stage: Stage) -> None:
    stage.kube.delete("customresourcedefinitions", None, "pipelines.pipeline-approver.io")
    with pytest.raises(StartupFailed, match=r"apply crds/pipelines\.yaml first"):
        async with stage.operator():
            pass


async def test_without_permission_to_list_it_ends_and_says_so(stage: Stage) -> None:
    stage.kube.allow = lambda *_: False
    with pytest.raises(StartupFailed, match=r"may not list Pipelines: .*forbidden"):
        async with stage.operator():
            pass


async def test_a_conflict_means_deciding_anew_from_what_is(stage: Stage) -> None:
    """Somebody takes the approval away while the intent is being written: the write loses, and nothing is sent."""
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    async with stage.operator():
        stage.create("orders")
        request = await stage.request("orders")
        hold = stage.kube.hold(("patch", "pipelines/status"))
        stage.annotate("orders", approve=request["id"])
        await hold.reached.wait()
        stage.annotate("orders", approve=None)
        hold.release()
        await stage.polls(5)
        assert "decision" not in stage.status("orders")
        assert stage.status("orders")["request"] == request
    assert not stage.feldera.approvals


async def test_a_status_that_the_server_does_not_keep_is_not_acted_upon(stage: Stage) -> None:
    """An old definition prunes what it does not know; without its record no decision is carried out."""
    crd = copy.deepcopy(stage.kube.get("customresourcedefinitions", None, "pipelines.pipeline-approver.io"))
    assert crd is not None
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    del schema["properties"]["decision"]
    crd["metadata"].pop("resourceVersion", None)
    stage.kube.put(crd)
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    async with stage.operator():
        stage.create("orders")
        request = await stage.request("orders")
        stage.annotate("orders", approve=request["id"])
        await wait_until(lambda: stage.kube.counts[("patch", "pipelines/status")] >= 2)
        await stage.polls(3)
    assert not stage.feldera.approvals


async def test_two_operators_at_once_approve_once(stage: Stage) -> None:
    names = [f"p{number}" for number in range(20)]
    for name in names:
        stage.feldera.add(name, state="AwaitingApproval", diff=DIFF)
        stage.create(name)
    async with stage.operator(**PATIENT), stage.operator(**PATIENT):
        for name in names:
            await stage.request(name)
        for name in names:
            stage.annotate(name, approve="true")
        await asyncio.gather(*(stage.outcome(name, "Bootstrapped") for name in names))
        await stage.polls(4)
    assert sorted(approval.name for approval in stage.feldera.approvals) == sorted(names)
