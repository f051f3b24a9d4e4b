"""Events, as `kubectl describe` shows them: one per transition, never in the way of an approval."""

import asyncio

from pipeline_approver.sandbox.feldera import pipeline_diff
from support.stage import PATIENT, Stage, wait_until

DIFF = pipeline_diff(added_views=["daily"])
STORY = ["ApprovalRequired", "Approved", "Bootstrapping", "Bootstrapped", "CheckpointRecorded", "CheckpointComplete"]


async def test_every_transition_has_one_event_with_the_object_it_is_about(stage: Stage) -> None:
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    async with stage.operator():
        stage.create("orders")
        request = await stage.request("orders")
        stage.annotate("orders", approve=request["id"], approved_by="alice", reason="reviewed")
        await stage.reach("orders", lambda _: stage.events("orders", "CheckpointComplete"))
        await stage.polls(5)
    events = sorted(stage.events("orders"), key=lambda event: int(event["metadata"]["resourceVersion"]))
    assert [event["reason"] for event in events] == STORY
    pipeline = stage.get("orders")
    for event in events:
        involved = event["involvedObject"]
        assert (involved["kind"], involved["apiVersion"]) == ("Pipeline", "pipeline-approver.io/v1alpha1")
        assert involved["uid"] == pipeline["metadata"]["uid"]
        assert (event["type"], event["count"]) == ("Normal", 1)
        assert event["source"]["component"] == event["reportingComponent"] == "pipeline-approver"
    assert request["id"] in events[0]["message"]
    assert "by alice" in events[1]["message"]


async def test_the_same_thing_again_is_counted(stage: Stage) -> None:
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    async with stage.operator():
        stage.create("orders")
        await stage.request("orders")
        for _ in range(3):
            stage.annotate("orders", approve="nonsense")
            await stage.reach("orders", lambda status: status.get("ignored"))
            stage.annotate("orders", approve=None)
            await stage.reach("orders", lambda status: "ignored" not in status)
        await wait_until(lambda: stage.events("orders", "AnnotationIgnored")[0]["count"] == 3)
    assert len(stage.events("orders", "AnnotationIgnored")) == 1


async def test_events_that_are_refused_or_hang_hold_up_no_approval(stage: Stage) -> None:
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    stage.feldera.add("payments", state="AwaitingApproval", diff=DIFF)
    async with stage.operator():
        stage.kube.faults.add(("create", "events"), kind="hang", times=1)
        stage.create("orders", annotations={"approve": "true"})
        await stage.outcome("orders", "Bootstrapped")
        stage.kube.faults.clear()
        stage.kube.allow = lambda user, verb, group, resource, *_: resource != "events"
        stage.create("payments", annotations={"approve": "true"})
        await stage.outcome("payments", "Bootstrapped")
    assert len(stage.feldera.approvals) == 2


async def test_a_burst_of_approvals_is_not_slowed_by_its_events(stage: Stage) -> None:
    names = [f"p{number}" for number in range(40)]
    for name in names:
        stage.feldera.add(name, state="AwaitingApproval", diff=DIFF)
        stage.create(name, annotations={"approve": "true"})
    async with stage.operator(**PATIENT):
        hold = stage.kube.hold(("create", "events"))
        await asyncio.gather(*(stage.outcome(name, "Bootstrapped") for name in names))
        hold.release()
        await wait_until(lambda: all(stage.events(name, "CheckpointComplete") for name in names))
