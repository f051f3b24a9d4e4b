"""Checkpoint numbers belong to one process; only a written checkpoint counts."""

from collections.abc import Awaitable, Callable
from typing import Any

from pipeline_approver.sandbox.feldera import pipeline_diff

Start = Callable[..., Awaitable[Any]]
STATUS = "/v0/pipelines/orders/checkpoint_status"


async def test_numbers_start_at_zero_in_every_process(site: Start) -> None:
    here = await site()
    pipeline = here.server.add("orders")
    first = (await here.post("orders", "checkpoint")).json()
    second = (await here.post("orders", "checkpoint")).json()
    assert [first["checkpoint_sequence_number"], second["checkpoint_sequence_number"]] == [0, 1]
    assert first["incarnation_uuid"] == second["incarnation_uuid"]
    pipeline.crash_process()
    await here.until_status("orders", "Running")
    third = (await here.post("orders", "checkpoint")).json()
    assert third["checkpoint_sequence_number"] == 0
    assert third["incarnation_uuid"] != first["incarnation_uuid"]
    mismatch = await here.client.get(STATUS, params={"incarnation_uuid": first["incarnation_uuid"]})
    assert (mismatch.status_code, mismatch.json()["error_code"]) == (400, "IncarnationUuidMismatch")


async def test_a_checkpoint_requested_while_bootstrapping_waits_for_the_end_of_it(site: Start) -> None:
    here = await site()
    pipeline = here.server.add("orders", state="Bootstrapping", diff=pipeline_diff(added_views=["v"]))
    response = await here.post("orders", "checkpoint")
    assert (response.status_code, response.json()["checkpoint_sequence_number"]) == (200, 0)
    assert (await here.client.get(STATUS)).json() == {"success": None, "failure": None}
    pipeline.run()
    assert await here.until_checkpoint("orders", 0) == {"success": 0, "failure": None}
    await here.until_row("orders", lambda row: len(row["storage_status_details"]["checkpoints"]) == 2)


async def test_a_checkpoint_can_fail_after_it_was_accepted(site: Start) -> None:
    here = await site()
    pipeline = here.server.add("orders", checkpointed=False)
    pipeline.fail_next_checkpoint("no space left on device")
    assert (await here.post("orders", "checkpoint")).status_code == 200
    status = await here.until_checkpoint("orders", 0)
    assert status["success"] is None
    assert (status["failure"]["sequence_number"], status["failure"]["error"]) == (0, "no space left on device")
    assert (await here.client.get("/v0/pipelines/orders/checkpoints")).json() == []
    assert (await here.post("orders", "checkpoint")).json()["checkpoint_sequence_number"] == 1


async def test_an_older_runtime_does_not_name_its_incarnation(site: Start) -> None:
    here = await site()
    here.server.add("orders")
    here.server.world.report_incarnation = False
    assert (await here.post("orders", "checkpoint")).json() == {"checkpoint_sequence_number": 0}


async def test_fingerprints_do_not_fit_into_signed_numbers_and_two_checkpoints_are_kept(site: Start) -> None:
    here = await site()
    here.server.add("orders")
    for expected in range(3):
        await here.post("orders", "checkpoint")
        await here.until_checkpoint("orders", expected)
    kept = (await here.client.get("/v0/pipelines/orders/checkpoints")).json()
    assert len(kept) == 2
    assert all(checkpoint["fingerprint"] >= 2**63 for checkpoint in kept)


async def test_a_graceful_stop_takes_a_checkpoint_and_hangs_while_approval_is_missing(site: Start) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval", diff=pipeline_diff(added_views=["v"]))
    assert (await here.post("orders", "stop", force="false")).status_code == 202
    row = await here.get("orders")
    assert (row["deployment_status"], row["deployment_desired_status"]) == ("AwaitingApproval", "Suspended")
    assert row["deployment_resources_desired_status"] == "Provisioned"
    await here.post("orders", "approve")
    row = await here.until_status("orders", "Stopped")
    assert len(row["storage_status_details"]["checkpoints"]) == 2
    await here.post("orders", "start")
    await here.until_status("orders", "Running")
