"""What becomes of a decision once it is made: swapped, changed, lost, late or repeated, it comes to one true end."""

import pytest

from pipeline_approver.sandbox.feldera import pipeline_diff
from support.asking import REEMITS, waiting
from support.stage import Stage


async def test_a_deployment_swapped_between_the_last_look_and_the_call_is_reported_loudly(stage: Stage) -> None:
    """The one gap that Feldera leaves: no client can close it, so it must not pass in silence."""
    async with stage.operator():
        request = await waiting(stage)
        stage.feldera.pipelines["orders"].swap_deployment_on_next_approve(pipeline_diff(removed_tables=["t"]))
        stage.annotate("orders", approve=request["id"])
        decision = await stage.outcome("orders", "Superseded")
        assert "check whether that deployment bootstrapped" in decision["message"]
        [approval] = stage.feldera.approvals
        assert approval.deployment_id in decision["message"]
    assert stage.events("orders", "Superseded")[0]["type"] == "Warning"


@pytest.mark.parametrize("change", ["restarted", "edited", "stopping", "gone", "renamed"])
async def test_what_changed_since_it_was_decided_is_not_approved(stage: Stage, change: str) -> None:
    """The verifying read happens after the intent is recorded; whatever it shows that differs means no call."""
    pipeline = stage.feldera.add("orders", state="AwaitingApproval", diff=REEMITS)
    async with stage.operator(poll_interval_seconds=1.0):
        request = await waiting(stage)
        hold = stage.feldera.hold(("GET", "get"), pipeline="orders")
        stage.annotate("orders", approve=request["id"])
        await hold.reached.wait()
        assert stage.status("orders")["decision"]["outcome"] == "Sending"
        match change:
            case "restarted":
                stage.feldera.ask("orders", diff=REEMITS)
            case "edited":
                stage.feldera.ask("orders", diff=pipeline_diff(removed_tables=["t"]))
            case "stopping":
                pipeline.stop(force=True)
            case "gone":
                stage.feldera.remove("orders")
            case "renamed":
                stage.feldera.remove("orders")
                stage.feldera.add("orders", state="AwaitingApproval", diff=REEMITS)
        hold.release()
        decision = await stage.outcome("orders", "Superseded")
        assert decision["message"]
    assert not stage.feldera.approvals


async def test_an_approval_that_ends_in_an_error_says_which(stage: Stage) -> None:
    stage.feldera.add("orders", state="AwaitingApproval", diff=REEMITS).fail_after_approval(
        "cannot open sink kafka_out"
    )
    async with stage.operator():
        await waiting(stage)
        stage.annotate("orders", approve="true")
        decision = await stage.outcome("orders", "Failed")
        assert "cannot open sink kafka_out" in decision["message"]
        await stage.reach("orders", lambda status: status["state"] == "Failed")
        assert stage.condition("orders", "Stalled")["status"] == "True"


async def test_a_call_that_failed_before_it_was_carried_out_is_tried_again_and_said_to_be_tried(stage: Stage) -> None:
    stage.feldera.faults.add(("POST", "approve"), kind="status", status=503)
    async with stage.operator():
        request = await waiting(stage)
        stage.annotate("orders", approve=request["id"])
        await stage.outcome("orders", "Bootstrapped")
        await stage.reach("orders", lambda _: stage.events("orders", "Bootstrapped"))
    assert stage.status("orders")["decision"]["attempts"] == 2
    [event] = stage.events("orders", "DecisionRetried")
    assert event["message"] == f"request {request['id']}: attempt 2"
    assert len(stage.feldera.approvals) == 1


async def test_a_pipeline_that_comes_to_stand_for_another_one_claims_nothing_about_the_first(stage: Stage) -> None:
    stage.feldera.add("invoices", state="Stopped")
    stage.feldera.faults.add(("POST", "stop"), kind="status", status=503, times=None)
    async with stage.operator():
        request = await waiting(stage)
        stage.annotate("orders", reject=request["id"])
        await stage.reach("orders", lambda status: status.get("decision", {}).get("message"))
        deployment_id = stage.status("orders")["decision"]["deploymentId"]
        stage.change("orders", pipelineName="invoices")
        decision = await stage.outcome("orders", "Superseded")
        await stage.reach("orders", lambda status: status["state"] == "Stopped")
    assert f"not for that of deployment {deployment_id}" in decision["message"]
    assert [entry["outcome"] for entry in stage.status("orders")["history"]] == ["Superseded"]


async def test_feldera_lagging_after_an_approval_is_not_answered_twice(stage: Stage) -> None:
    pipeline = stage.feldera.add("orders", state="AwaitingApproval", diff=REEMITS)
    async with stage.operator():
        await waiting(stage)
        pipeline.freeze_observation()
        stage.annotate("orders", approve="true")
        await stage.outcome("orders", "Sent")
        await stage.polls(10)
        assert len(stage.feldera.approvals) == 1
        assert stage.status("orders")["state"] == "Bootstrapping"
        pipeline.thaw()
        await stage.outcome("orders", "Bootstrapped")
    assert len(stage.feldera.approvals) == 1


async def test_unavailable_is_not_a_withdrawal(stage: Stage) -> None:
    pipeline = stage.feldera.add("orders", state="AwaitingApproval", diff=REEMITS)
    async with stage.operator():
        request = await waiting(stage)
        pipeline.set_observed("Unavailable")
        await stage.polls(5)
        assert stage.status("orders")["request"] == request
        pipeline.thaw()
        await stage.polls(3)
        assert stage.status("orders")["request"] == request
        stage.annotate("orders", approve=request["id"])
        await stage.outcome("orders", "Bootstrapped")
    assert not stage.events("orders", "RequestWithdrawn")


async def test_a_restarted_process_that_asks_again_gets_the_recorded_decision_again(stage: Stage) -> None:
    pipeline = stage.feldera.add("orders", state="AwaitingApproval", diff=REEMITS)
    async with stage.operator():
        await waiting(stage, checkpoint="Never")
        stage.annotate("orders", approve="true")
        await stage.outcome("orders", "Bootstrapped")
        pipeline.crash_process(keep_policy=False)
        await stage.reach("orders", lambda _: stage.events("orders", "DecisionReplayed"))
        await stage.outcome("orders", "Bootstrapped")
    assert [approval.deployment_id for approval in stage.feldera.approvals] == [pipeline.deployment_id] * 2
