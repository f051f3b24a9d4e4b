"""Which requests Feldera refuses, with which status and code, and that a refused request has no effect."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

Start = Callable[..., Awaitable[Any]]


def refusal(response: Any) -> tuple[int, str]:
    body = response.json()
    assert set(body) == {"message", "error_code", "details"}
    return response.status_code, body["error_code"]


async def test_both_bootstrap_flags_are_refused_before_anything_else(site: Start) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    both = {"silent_bootstrap": "true", "concurrent_bootstrap": "true"}
    assert refusal(await here.post("orders", "approve", **both)) == (400, "InvalidBootstrapConfig")
    assert refusal(await here.post("orders", "start", **both)) == (400, "InvalidBootstrapConfig")
    assert here.server.approvals == []


async def test_a_flag_that_is_not_a_boolean_gets_the_answer_of_the_web_framework(site: Start) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    response = await here.post("orders", "approve", silent_bootstrap="yes")
    assert response.status_code == 400
    assert not response.headers["content-type"].startswith("application/json")
    assert (await here.client.get("/v0/pipelines?selector=everything")).status_code == 400
    assert here.server.requests[-1].status == 400


async def test_approving_nobody_is_not_found(site: Start) -> None:
    here = await site()
    response = await here.post("nobody", "approve")
    assert refusal(response) == (404, "UnknownPipelineName")
    assert response.json()["details"] == {"pipeline_name": "nobody"}


async def test_approving_a_stopped_pipeline_says_that_it_is_not_deployed(site: Start) -> None:
    here = await site()
    here.server.add("orders", state="Stopped")
    response = await here.post("orders", "approve")
    assert refusal(response) == (503, "PipelineInteractionNotDeployed")
    assert response.headers["retry-after"] == "5"
    assert response.json()["details"]["status"] == "Stopped"


async def test_refusals_follow_the_observed_state_and_not_the_real_one(site: Start) -> None:
    here = await site()
    pipeline = here.server.add("orders", state="AwaitingApproval")
    pipeline.set_observed("Unavailable")
    assert refusal(await here.post("orders", "approve")) == (503, "PipelineUnavailable")
    pipeline.set_observed("Provisioning")
    assert refusal(await here.post("orders", "approve")) == (503, "PipelineInteractionNotDeployed")
    assert pipeline.phase == "AwaitingApproval"
    pipeline.thaw()
    row = await here.get("orders")
    assert (row["deployment_status"], row["bootstrap_policy"]) == ("AwaitingApproval", "await_approval")
    assert here.server.approvals == []


async def test_a_dead_process_that_looks_alive_is_unreachable(site: Start, never: float) -> None:
    here = await site(lag_seconds=never, step_seconds=never)
    here.server.add("orders", state="AwaitingApproval").crash_process()
    response = await here.post("orders", "approve")
    assert refusal(response) == (503, "PipelineInteractionUnreachable")
    assert "Failed to connect to host" in response.json()["message"]
    assert refusal(await here.post("orders", "stop", force="false")) == (503, "PipelineInteractionUnreachable")
    assert (await here.post("orders", "stop", force="true")).status_code == 202


@pytest.mark.parametrize("phase", ["AwaitingApproval", "Initializing", "Standby"])
async def test_no_checkpoint_without_a_controller(site: Start, phase: str) -> None:
    here = await site()
    here.server.add("orders", state=phase)
    response = await here.post("orders", "checkpoint")
    assert refusal(response) == (503, "Initializing")
    assert "retry-after" not in response.headers
    assert (await here.client.get("/v0/pipelines/orders/checkpoint_status")).status_code == 200
    assert (await here.client.get("/v0/pipelines/orders/checkpoints")).status_code == 200


async def test_the_open_source_edition_has_no_checkpoints_but_can_be_approved(site: Start) -> None:
    here = await site(edition="Open source", approve_style="documented")
    here.server.add("orders", state="AwaitingApproval")
    assert refusal(await here.post("orders", "checkpoint")) == (501, "EnterpriseFeature")
    assert refusal(await here.post("orders", "stop")) == (501, "EnterpriseFeature")
    assert (await here.post("orders", "approve")).json() == "Bootstrap approved"
    assert (await here.client.get("/v0/config")).json()["edition"] == "Open source"


async def test_a_deployed_pipeline_cannot_be_edited_cleared_or_deleted(site: Start) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    path = "/v0/pipelines/orders"
    edit = await here.client.patch(path, json={"program_code": "CREATE TABLE t (a INT);"})
    assert refusal(edit) == (400, "UpdateRestrictedToStopped")
    assert refusal(await here.post("orders", "clear")) == (400, "StorageStatusImmutableUnlessStopped")
    assert refusal(await here.client.delete(path)) == (400, "DeleteRestrictedToFullyStopped")
    versions = await here.get("orders")
    # Tags and description may change at any time, and raise no version.
    tagged = await here.client.patch(path, json={"tags": ["approval:auto"], "description": "mine"})
    assert tagged.status_code == 200
    assert "bootstrap_policy" not in tagged.json()
    after = await here.get("orders")
    assert (after["tags"], after["version"]) == (["approval:auto"], versions["version"])


async def test_a_pipeline_with_storage_can_neither_be_deleted_nor_renamed(site: Start) -> None:
    here = await site()
    here.server.add("orders", state="Stopped")
    path = "/v0/pipelines/orders"
    assert refusal(await here.client.delete(path)) == (400, "DeleteRestrictedToClearedStorage")
    rename = await here.client.patch(path, json={"name": "purchases"})
    assert refusal(rename) == (400, "EditRestrictedToClearedStorage")
    assert (await here.post("orders", "clear")).status_code == 202
    await here.until_row("orders", lambda row: row["storage_status"] == "Cleared")
    assert refusal(await here.post("orders", "clear")) == (400, "InvalidStorageStatusTransition")
    assert (await here.client.patch(path, json={"name": "purchases"})).status_code == 200
    assert (await here.client.get(path)).status_code == 404
    assert (await here.client.delete("/v0/pipelines/purchases")).status_code == 200


async def test_starting_again_is_accepted_only_with_the_same_arguments(site: Start) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    assert (await here.post("orders", "start")).status_code == 202
    other = await here.post("orders", "start", initial="paused")
    assert refusal(other) == (400, "InitialImmutableUnlessStopped")
    allow = await here.post("orders", "start", bootstrap_policy="allow")
    assert refusal(allow) == (400, "BootstrapPolicyImmutableUnlessStopped")
    assert await here.status("orders") == "AwaitingApproval"


async def test_a_stop_cannot_be_taken_back(site: Start, never: float) -> None:
    here = await site(step_seconds=never)
    here.server.add("orders")
    assert (await here.post("orders", "stop", force="true")).status_code == 202
    assert (await here.post("orders", "stop", force="true")).status_code == 202
    await here.until_status("orders", "Stopping")
    assert refusal(await here.post("orders", "start")) == (400, "IllegalPipelineAction")


async def test_names_have_a_pattern_and_are_unique(site: Start) -> None:
    here = await site()

    async def create(name: str) -> Any:
        return await here.client.post("/v0/pipelines", json={"name": name, "program_code": ""})

    assert (await create("Orders_1")).status_code == 201
    assert refusal(await create("Orders_1")) == (409, "DuplicateName")
    assert refusal(await create("-orders")) == (400, "NameDoesNotMatchPattern")
    assert refusal(await create("o" * 64)) == (400, "TooLongName")
