"""The main job, seen from outside: what people write, what Feldera receives, and what stands in the status."""

import json

import pytest

from pipeline_approver.sandbox.feldera import pipeline_diff
from support.asking import REEMITS, waiting
from support.stage import Stage


async def test_a_request_is_shown_with_what_a_person_needs_to_decide(stage: Stage) -> None:
    async with stage.operator():
        request = await waiting(stage)
        status = stage.status("orders")
        assert (status["state"], request["risk"]) == ("AwaitingApproval", "Reemits")
        assert request["change"] == {"addedViews": ["daily"], "modifiedViews": ["totals"]}
        assert request["summary"] == "1 view added, 1 view modified"
        condition = stage.condition("orders", "ApprovalRequired")
        assert condition["status"] == "True"
        command = (
            f"kubectl annotate pipelines.pipeline-approver.io orders -n default --overwrite"
            f" pipeline-approver.io/approve={request['id']}"
        )
        assert command in condition["message"]
        assert not stage.feldera.approvals


@pytest.mark.parametrize("form", ["id", "digest", "true", "true@release-42"])
async def test_every_form_approves_exactly_once_and_the_checkpoint_is_recorded(stage: Stage, form: str) -> None:
    async with stage.operator():
        request = await waiting(stage)
        value = request.get(form, form)
        stage.annotate("orders", approve=value, reason="reviewed", approved_by="alice")
        decision = await stage.outcome("orders", "Bootstrapped")
        await stage.reach("orders", lambda status: status["decision"].get("checkpoint") == "Durable")
        status = stage.status("orders")
    [approval] = stage.feldera.approvals
    assert approval.effective
    assert approval.deployment_id == status["pipeline"]["deploymentId"]
    assert (decision["requestId"], decision["digest"]) == (request["id"], request["digest"])
    assert (decision["verdict"], decision["reason"]) == ("Approved", "reviewed")
    assert decision["by"]["via"] == "Annotation"
    assert decision["by"]["user"] == "alice"
    assert status["checkpoint_sequence_number"] == 0
    assert status["checkpointIncarnation"]
    assert status["handled"] == {"approve": value}
    assert [entry["requestId"] for entry in status["history"]] == [request["id"]]
    assert stage.condition("orders", "CheckpointDurable")["status"] == "True"
    assert stage.condition("orders", "Ready")["status"] == "True"
    assert "request" not in status


async def test_the_documented_answer_is_written_at_once_and_no_second_checkpoint_is_asked_for(stage: Stage) -> None:
    stage.feldera.world.approve_style = "documented"
    async with stage.operator():
        await waiting(stage)
        stage.annotate("orders", approve="true")
        await stage.reach("orders", lambda status: status.get("checkpoint_sequence_number") == 0)
        await stage.reach("orders", lambda status: status["decision"].get("checkpoint") == "Durable")
    assert ("POST", "/v0/pipelines/{name}/checkpoint", "") not in stage.feldera.counts


async def test_an_edition_without_checkpoints_is_reported_once_and_the_number_stays_unset(stage: Stage) -> None:
    async with stage.operator():
        await waiting(stage)
        stage.feldera.world.edition = "Open source"
        stage.annotate("orders", approve="true")
        await stage.outcome("orders", "Bootstrapped")
        condition = stage.condition("orders", "CheckpointDurable")
        assert (condition["status"], condition["reason"]) == ("False", "CheckpointsUnsupported")
        assert "checkpoint_sequence_number" not in stage.status("orders")
        await stage.polls(5)
    assert stage.feldera.counts[("POST", "/v0/pipelines/{name}/checkpoint", "")] == 1
    [event] = stage.events("orders", "CheckpointsUnsupported")
    assert event["count"] == 1


async def test_checkpoint_never_asks_for_none(stage: Stage) -> None:
    async with stage.operator():
        await waiting(stage, checkpoint="Never")
        stage.annotate("orders", approve="true")
        await stage.outcome("orders", "Bootstrapped")
        await stage.polls(3)
    assert ("POST", "/v0/pipelines/{name}/checkpoint", "") not in stage.feldera.counts
    assert "checkpoint_sequence_number" not in stage.status("orders")


async def test_a_rejection_stops_the_pipeline_and_the_next_request_can_be_approved(stage: Stage) -> None:
    async with stage.operator():
        first = await waiting(stage)
        stage.annotate("orders", reject=first["id"], reason="not on a Friday")
        decision = await stage.outcome("orders", "Stopped")
        assert (decision["verdict"], decision["reason"]) == ("Rejected", "not on a Friday")
        [stop] = stage.feldera.stops
        assert (stop.force, stop.deployment_id) == (True, decision["deploymentId"])
        assert not stage.feldera.approvals
        stage.feldera.ask("orders", diff=REEMITS)
        second = await stage.reach(
            "orders",
            lambda status: status.get("request", {}).get("id") not in (None, first["id"]) and status["request"],
        )
        stage.annotate("orders", approve=second["id"])
        await stage.outcome("orders", "Bootstrapped")
    assert len(stage.feldera.approvals) == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("prefix", "Malformed"),
        ("upper", "Malformed"),
        ("True", "Malformed"),
        ("yes", "Malformed"),
        ("👍 ok", "Malformed"),
        ("x" * 200_000, "Malformed"),
        ("0123456789ab", "StaleRequest"),
        ("sha256:" + "0" * 64, "OtherChange"),
    ],
)
async def test_anything_else_is_ignored_with_a_reason_and_one_event(stage: Stage, value: str, reason: str) -> None:
    async with stage.operator():
        request = await waiting(stage)
        values = {"prefix": request["id"][:8], "upper": request["digest"].upper()}
        stage.annotate("orders", approve=values.get(value, value))
        ignored = await stage.reach("orders", lambda status: status.get("ignored"))
        assert [entry["reason"] for entry in ignored] == [reason]
        assert ignored[0]["message"] in stage.condition("orders", "ApprovalRequired")["message"]
        await stage.polls(5)
        assert not stage.feldera.approvals
        # The right one still works.
        stage.annotate("orders", approve=request["id"])
        await stage.outcome("orders", "Bootstrapped")
        assert "ignored" not in stage.status("orders")
    [event] = stage.events("orders", "AnnotationIgnored")
    assert (event["type"], event["count"]) == ("Warning", 1)


async def test_approve_and_reject_at_once_do_nothing_and_say_so(stage: Stage) -> None:
    async with stage.operator():
        request = await waiting(stage)
        stage.annotate("orders", approve=request["id"], reject="true")
        await stage.reach("orders", lambda _: stage.condition("orders", "ApprovalRequired")["reason"] == "Conflict")
        await stage.polls(3)
        assert not stage.feldera.approvals
        assert not stage.feldera.stops
        stage.annotate("orders", reject=None)
        await stage.outcome("orders", "Bootstrapped")


async def test_a_suspended_pipeline_is_observed_and_not_decided(stage: Stage) -> None:
    async with stage.operator():
        await waiting(stage, suspend=True)
        stage.annotate("orders", approve="true")
        await stage.reach("orders", lambda _: stage.condition("orders", "ApprovalRequired")["reason"] == "Suspended")
        await stage.polls(3)
        assert not stage.feldera.approvals
        stage.change("orders", suspend=False)
        await stage.outcome("orders", "Bootstrapped")


@pytest.mark.parametrize(
    ("outputs", "started_silent", "sent"),
    [(None, True, True), (None, False, False), ("Silent", False, True), ("Emit", True, False)],
)
async def test_flags_are_sent_as_decided(stage: Stage, outputs: str | None, started_silent: bool, sent: bool) -> None:
    stage.feldera.add("orders")
    stage.feldera.ask("orders", diff=REEMITS, silent=started_silent)
    async with stage.operator():
        request = await waiting(stage, **({"outputs": outputs} if outputs else {}))
        assert request["outputs"] == ("Silent" if sent else "Emit")
        stage.annotate("orders", approve=request["id"])
        await stage.outcome("orders", "Bootstrapped")
    [approval] = stage.feldera.approvals
    assert (approval.silent, approval.concurrent) == (sent, False)


async def test_a_true_set_before_anything_waits_approves_the_next_request_and_no_other(stage: Stage) -> None:
    stage.feldera.add("orders")
    stage.create("orders", annotations={"approve": "true"})
    async with stage.operator():
        await stage.reach("orders", lambda _: stage.condition("orders", "ApprovalRequired").get("reason") == "Armed")
        stage.feldera.ask("orders", diff=REEMITS)
        await stage.outcome("orders", "Bootstrapped")
        stage.feldera.ask("orders", diff=REEMITS)
        ignored = await stage.reach("orders", lambda status: status.get("ignored"))
        assert ignored[0]["reason"] == "UsedUp"
        await stage.polls(3)
        assert len(stage.feldera.approvals) == 1
        stage.annotate("orders", approve="true@again")
        await stage.reach("orders", lambda status: len(status["history"]) == 2)
    assert len(stage.feldera.approvals) == 2


async def test_a_digest_from_git_approves_its_change_in_every_deployment_and_no_other_change(stage: Stage) -> None:
    async with stage.operator():
        request = await waiting(stage)
        stage.annotate("orders", approve=request["digest"])
        await stage.outcome("orders", "Bootstrapped")
        stage.feldera.ask("orders", diff=REEMITS)
        await stage.reach("orders", lambda status: len(status["history"]) == 2)
        stage.feldera.ask("orders", diff=pipeline_diff(removed_tables=["orders"]))
        ignored = await stage.reach("orders", lambda status: status.get("ignored"))
        assert ignored[0]["reason"] == "OtherChange"
        await stage.polls(3)
    assert len(stage.feldera.approvals) == 2


@pytest.mark.parametrize("shape", ["new", "old"])
async def test_both_shapes_of_the_details_are_understood(stage: Stage, shape: str) -> None:
    stage.feldera.world.details_shape = shape
    async with stage.operator():
        request = await waiting(stage)
        assert request["change"] == {"addedViews": ["daily"], "modifiedViews": ["totals"]}


async def test_a_change_that_feldera_could_not_compute_is_unknown_and_needs_a_person(stage: Stage) -> None:
    stage.feldera.add("orders", state="AwaitingApproval", diff=pipeline_diff(error="no IR in the checkpoint"))
    async with stage.operator():
        request = await waiting(stage)
        assert request["risk"] == "Unknown"
        assert "no IR in the checkpoint" in request["reasons"][0]
        stage.annotate("orders", approve=request["id"])
        await stage.outcome("orders", "Bootstrapped")


async def test_names_in_feldera_need_not_be_names_in_kubernetes(stage: Stage) -> None:
    stage.feldera.add("Orders_EU", state="AwaitingApproval", diff=REEMITS)
    async with stage.operator():
        stage.create("orders-eu", pipelineName="Orders_EU")
        request = await stage.request("orders-eu")
        stage.annotate("orders-eu", approve=request["id"])
        await stage.outcome("orders-eu", "Bootstrapped")


async def test_a_pipeline_that_feldera_does_not_know_says_so_and_heals(stage: Stage) -> None:
    async with stage.operator():
        stage.create("orders")
        await stage.reach("orders", lambda status: status.get("state") == "NotFound")
        assert "create it there" in stage.condition("orders", "Ready")["message"]
        stage.feldera.add("orders")
        await stage.reach("orders", lambda status: status["state"] == "Running")


async def test_unknown_words_and_keys_of_feldera_are_survived(stage: Stage) -> None:
    pipeline = stage.feldera.add("orders")
    stage.feldera.add("payments", state="AwaitingApproval", diff={**REEMITS, "added_indexes": ["i"]})
    async with stage.operator():
        stage.create("orders")
        stage.create("payments")
        pipeline.set_observed("Teleporting")
        await stage.reach("orders", lambda status: status.get("state") == "Teleporting")
        request = await stage.request("payments")
        assert request["risk"] == "Unknown"
        assert any("added_indexes" in reason for reason in request["reasons"])


async def test_the_whole_status_survives_the_schema(stage: Stage) -> None:
    """What the API server kept is what was meant: nothing of a status is pruned."""
    names = [f"a_rather_long_name_of_a_view_{number:04}" for number in range(2000)]
    stage.feldera.add("orders", state="AwaitingApproval", diff=pipeline_diff(modified_views=names))
    async with stage.operator():
        request = await waiting(stage)
        assert len(request["change"]["modifiedViews"]) == 20
        assert request["change"]["omitted"] == 1980
        assert request["summary"] == "2000 views modified"
        assert len(json.dumps(stage.status("orders"))) < 20_000


async def test_a_program_that_could_not_be_read_is_read_again_whatever_else_was_due(stage: Stage) -> None:
    """The look at a checkpoint that is due sooner does not stand for the second reading that is due later."""
    stage.feldera.add("orders", state="AwaitingApproval")
    held = stage.feldera.hold(("POST", "checkpoint"))
    stage.create("orders", annotations={"approve": "true"})
    async with stage.operator():
        await held.reached.wait()
        # From now on nothing that Feldera does comes to its end.
        stage.feldera.world.step_seconds = 3600
        held.release()
        await stage.reach("orders", lambda status: status["decision"].get("checkpoint") == "Requested")
        stage.feldera.faults.add(("GET", "get"), kind="truncate")
        stage.feldera.ask("orders")
        await stage.reach(
            "orders", lambda status: "could not be read" in stage.condition("orders", "ApprovalRequired")["message"]
        )
        await stage.request("orders")
