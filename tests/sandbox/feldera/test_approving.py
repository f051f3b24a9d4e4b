"""Approving asks no questions: which process is hit, what it does with it, and what GET says meanwhile."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pipeline_approver.sandbox.feldera import pipeline_diff

Start = Callable[..., Awaitable[Any]]
DIFF = pipeline_diff(modified_views=["totals"])
TABLE = "CREATE TABLE t (a INT);"
GROWN = TABLE + " CREATE VIEW v AS SELECT a FROM t;"


async def restarted(here: Any, **start: str) -> None:
    """A pipeline whose program grew since its checkpoint, started with these arguments."""
    here.server.add("orders", program=TABLE, state="Stopped")
    response = await here.client.patch("/v0/pipelines/orders", json={"program_code": GROWN})
    assert response.status_code == 200
    response = await here.post("orders", "start", **start)
    assert response.status_code == 202


async def test_a_waiting_pipeline_shows_its_diff_and_runs_once_approved(site: Start) -> None:
    here = await site()
    deployment = here.server.add("orders", state="AwaitingApproval", diff=DIFF).deployment_id
    row = await here.get("orders")
    assert row["deployment_status"] == row["deployment_runtime_status"] == "AwaitingApproval"
    assert row["deployment_runtime_status_details"] == {"approval_diff": DIFF}
    assert (row["deployment_desired_status"], row["deployment_resources_desired_status"]) == (
        "Running",
        "Provisioned",
    )
    response = await here.post("orders", "approve", silent_bootstrap="true", concurrent_bootstrap="false")
    assert (response.status_code, response.json()) == (200, "Bootstrap approved")
    row = await here.until_status("orders", "Running")
    assert row["deployment_id"] == deployment
    # What /start was told stays what GET says; approving leaves no trace in the row.
    assert (row["bootstrap_policy"], row["silent_bootstrap"]) == ("await_approval", False)
    [approval] = here.server.approvals
    assert (approval.deployment_id, approval.phase, approval.effective) == (deployment, "AwaitingApproval", True)
    assert (approval.silent, approval.concurrent) == (True, False)


async def test_the_status_selector_has_exactly_the_keys_of_feldera(site: Start) -> None:
    here = await site()
    here.server.add("orders")
    here.server.add("payments", state="Stopped")
    rows = (await here.client.get("/v0/pipelines?selector=status")).json()
    assert [len(row) for row in rows] == [33, 33]
    running, stopped = rows
    nullable = {key for key, value in stopped.items() if value is None}
    assert nullable == {
        "deployment_error",
        "deployment_id",
        "deployment_initial",
        "deployment_runtime_status",
        "deployment_runtime_status_details",
        "deployment_runtime_status_since",
        "deployment_runtime_desired_status",
        "deployment_runtime_desired_status_since",
        "bootstrap_policy",
    }
    assert {key for key, value in running.items() if value is None} == {"deployment_error"}


@pytest.mark.parametrize(
    "phase", ["Initializing", "Running", "Paused", "Bootstrapping", "Standby", "Suspended", "Replaying"]
)
async def test_approving_in_any_other_phase_answers_the_same_and_waits_for_nobody(site: Start, phase: str) -> None:
    here = await site()
    here.server.add("orders", state=phase)
    response = await here.post("orders", "approve")
    assert (response.status_code, response.json()) == (200, "Bootstrap approved")
    assert await here.status("orders") == phase
    assert [(a.phase, a.effective) for a in here.server.approvals] == [(phase, False)]


async def test_approving_an_initializing_pipeline_approves_a_diff_nobody_has_seen(site: Start) -> None:
    here = await site()
    pipeline = here.server.add("orders", state="Initializing", diff=DIFF)
    assert (await here.post("orders", "approve")).status_code == 200
    assert await here.status("orders") == "Initializing"
    pipeline.initialized()
    await here.until_status("orders", "Running")
    assert [(a.phase, a.effective) for a in here.server.approvals] == [("Initializing", False)]


async def test_an_approval_sticks_to_its_deployment_through_a_crash(site: Start) -> None:
    here = await site()
    await restarted(here)
    row = await here.until_status("orders", "AwaitingApproval")
    await here.post("orders", "approve")
    await here.until_status("orders", "Running")
    here.server.pipelines["orders"].crash_process()
    again = await here.until_status("orders", "Running")
    assert again["deployment_id"] == row["deployment_id"]
    assert len(here.server.approvals) == 1


async def test_a_crash_before_the_policy_is_stored_asks_again_in_the_same_deployment(site: Start) -> None:
    here = await site()
    await restarted(here)
    before = await here.until_status("orders", "AwaitingApproval")
    await here.post("orders", "approve")
    await here.until_status("orders", "Running")
    here.server.pipelines["orders"].crash_process(keep_policy=False)
    after = await here.until_status("orders", "AwaitingApproval")
    assert after["deployment_id"] == before["deployment_id"]
    assert after["deployment_runtime_status_details"] == before["deployment_runtime_status_details"]


@pytest.mark.parametrize("checkpointed", [True, False])
async def test_only_a_checkpoint_makes_an_approval_outlive_its_deployment(site: Start, checkpointed: bool) -> None:
    here = await site()
    await restarted(here)
    first = await here.until_status("orders", "AwaitingApproval")
    await here.post("orders", "approve")
    await here.until_status("orders", "Running")
    if checkpointed:
        assert (await here.post("orders", "checkpoint")).status_code == 200
        await here.post("orders", "stop", force="false")
    else:
        await here.post("orders", "stop", force="true")
    await here.until_status("orders", "Stopped")
    await here.post("orders", "start")
    second = await here.until_status("orders", "Running" if checkpointed else "AwaitingApproval")
    assert second["deployment_id"] != first["deployment_id"]
    assert second["program_version"] == first["program_version"]


async def test_get_lags_behind_an_approval_that_has_long_worked(site: Start, never: float) -> None:
    here = await site(lag_seconds=never)
    pipeline = here.server.add("orders", state="AwaitingApproval", diff=DIFF)
    assert (await here.post("orders", "approve")).status_code == 200
    assert await here.status("orders") == "AwaitingApproval"
    assert (await here.post("orders", "approve")).status_code == 200
    assert pipeline.phase != "AwaitingApproval"
    assert [a.effective for a in here.server.approvals] == [True, False]
    pipeline.observe()
    assert await here.status("orders") != "AwaitingApproval"


async def test_a_frozen_observation_keeps_saying_the_old_things(site: Start) -> None:
    here = await site()
    pipeline = here.server.add("orders", state="AwaitingApproval", diff=DIFF)
    pipeline.freeze_observation()
    await here.post("orders", "approve")
    assert await here.status("orders") == "AwaitingApproval"
    pipeline.thaw()
    await here.until_status("orders", "Running")


async def test_an_approval_can_hit_the_next_deployment(site: Start) -> None:
    here = await site()
    pipeline = here.server.add("orders", state="AwaitingApproval", diff=DIFF)
    seen = (await here.get("orders"))["deployment_id"]
    other = pipeline_diff(removed_tables=["customers"])
    pipeline.swap_deployment_on_next_approve(other)
    assert (await here.post("orders", "approve")).status_code == 200
    row = await here.until_status("orders", "Running")
    [approval] = here.server.approvals
    assert approval.deployment_id == row["deployment_id"] != seen
    assert approval.effective


async def test_an_approval_can_hit_the_next_deployment_before_it_has_a_diff(site: Start) -> None:
    here = await site()
    pipeline = here.server.add("orders", state="AwaitingApproval", diff=DIFF)
    pipeline.swap_deployment_on_next_approve(phase="Initializing")
    assert (await here.post("orders", "approve")).status_code == 200
    await here.until_status("orders", "Running")
    assert [(a.phase, a.effective) for a in here.server.approvals] == [("Initializing", False)]


async def test_the_documented_answer_brings_the_number_of_a_checkpoint_that_follows(site: Start) -> None:
    here = await site(approve_style="documented")
    here.server.add("orders", state="AwaitingApproval", diff=DIFF)
    response = await here.post("orders", "approve")
    assert (response.status_code, response.json()) == (202, {"checkpoint_sequence_number": 0})
    await here.until_status("orders", "Running")
    assert await here.until_checkpoint("orders", 0) == {"success": 0, "failure": None}
    row = await here.until_row("orders", lambda row: len(row["storage_status_details"]["checkpoints"]) == 2)
    assert row["deployment_status"] == "Running"


async def test_repeating_a_documented_approval_reserves_no_second_number(site: Start, never: float) -> None:
    here = await site(approve_style="documented", step_seconds=never)
    here.server.add("orders", state="AwaitingApproval", diff=DIFF)
    answers = [(await here.post("orders", "approve")).json() for _ in range(2)]
    assert answers == [{"checkpoint_sequence_number": 0}] * 2


async def test_an_old_server_shows_the_diff_as_the_details(site: Start) -> None:
    here = await site(details_shape="old")
    here.server.add("orders", state="AwaitingApproval", diff=DIFF)
    assert (await here.get("orders"))["deployment_runtime_status_details"] == DIFF
    await here.post("orders", "approve")
    row = await here.until_status("orders", "Running")
    assert row["deployment_runtime_status_details"] == ""


async def test_a_flap_to_unavailable_hides_the_diff_but_not_the_deployment(site: Start) -> None:
    here = await site()
    pipeline = here.server.add("orders", state="AwaitingApproval", diff=DIFF)
    before = await here.get("orders")
    pipeline.set_observed("Unavailable", reason="no answer in time")
    flap = await here.get("orders")
    assert flap["deployment_status"] == "Unavailable"
    assert flap["deployment_runtime_status_details"] == {"reason": "no answer in time"}
    assert flap["deployment_id"] == before["deployment_id"]
    pipeline.thaw()
    after = await here.get("orders")
    assert after["deployment_runtime_status_details"] == {"approval_diff": DIFF}
    assert after["deployment_status_since"] > before["deployment_status_since"]


async def test_an_approval_may_end_in_a_deployment_error(site: Start) -> None:
    here = await site()
    pipeline = here.server.add("orders", state="AwaitingApproval", diff=DIFF)
    pipeline.fail_after_approval("table 'orders' exists already at the sink")
    assert (await here.post("orders", "approve")).status_code == 200
    row = await here.until_status("orders", "Stopped")
    assert row["deployment_error"]["error_code"] == "InitializationError"
    assert "exists already" in row["deployment_error"]["message"]
    assert (row["deployment_desired_status"], row["deployment_id"]) == ("Stopped", None)
    assert (await here.post("orders", "start", dismiss_error="false")).status_code == 400
    assert (await here.post("orders", "start")).status_code == 202


@pytest.mark.parametrize(
    ("params", "diff", "seen"),
    [
        ({}, DIFF, ["Bootstrapping"]),
        ({"concurrent_bootstrap": "true"}, DIFF, ["ConcurrentBootstrapping", "Synchronizing"]),
        ({}, pipeline_diff(removed_views=["v"]), []),
        ({}, pipeline_diff(error="no IR in the checkpoint"), ["Bootstrapping"]),
    ],
)
async def test_what_a_bootstrap_looks_like_depends_on_the_diff_and_on_start(
    site: Start, params: dict[str, str], diff: dict[str, Any], seen: list[str]
) -> None:
    here = await site()
    pipeline = here.server.add("orders", state="Stopped", diff=diff)
    await here.post("orders", "start", **params)
    await here.until_status("orders", "AwaitingApproval")
    # Asking for another kind of bootstrap now has no effect.
    await here.post("orders", "approve", concurrent_bootstrap="true")
    await here.until_status("orders", "Running")
    before = ["Provisioning", "Initializing", "AwaitingApproval", "Initializing"]
    assert pipeline.phases == [*before, *seen, "Running"]
