"""Creating, compiling, starting, stopping: versions, nulls and policies along the way."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pipeline_approver.sandbox.feldera import compiler

Start = Callable[..., Awaitable[Any]]
TABLE = "CREATE TABLE t (a INT);"
GROWN = TABLE + " CREATE VIEW v AS SELECT a FROM t;"
PATH = "/v0/pipelines/orders"


async def test_a_start_makes_a_new_deployment_and_a_stop_forgets_it(site: Start) -> None:
    here = await site()
    await here.compiled("orders", TABLE)
    await here.post("orders", "start", bootstrap_policy="reject", silent_bootstrap="true", initial="paused")
    row = await here.until_status("orders", "Paused")
    assert (row["bootstrap_policy"], row["silent_bootstrap"], row["deployment_initial"]) == ("reject", True, "Paused")
    assert (row["deployment_desired_status"], row["storage_status"]) == ("Paused", "InUse")
    first = row["deployment_id"]
    await here.post("orders", "stop", force="true")
    row = await here.until_status("orders", "Stopped")
    assert (row["deployment_id"], row["bootstrap_policy"], row["deployment_initial"]) == (None, None, None)
    assert row["silent_bootstrap"] is False
    await here.post("orders", "start")
    row = await here.until_status("orders", "Running")
    assert row["deployment_id"] not in {None, first}
    assert [stop.deployment_id for stop in here.server.stops] == [first]


async def test_a_stop_is_visible_as_a_wish_before_the_runner_acts(site: Start, never: float) -> None:
    here = await site(lag_seconds=never)
    here.server.add("orders", state="AwaitingApproval")
    await here.post("orders", "stop", force="true")
    row = await here.get("orders")
    assert (row["deployment_status"], row["deployment_desired_status"]) == ("AwaitingApproval", "Stopped")
    assert row["deployment_runtime_status_details"]["approval_diff"]
    # It can still be approved, although it is about to go.
    assert (await here.post("orders", "approve")).status_code == 200


async def test_editing_raises_only_the_versions_that_it_touches(site: Start) -> None:
    here = await site()
    first = await here.compiled("orders", TABLE)
    assert (first["version"], first["program_version"]) == (1, 1)
    await here.client.patch(PATH, json={"program_code": TABLE, "udf_rust": None})
    assert (await here.get("orders"))["version"] == 1
    await here.client.patch(PATH, json={"runtime_config": {"workers": 2}})
    row = await here.get("orders")
    assert (row["version"], row["program_version"]) == (2, 1)
    await here.client.patch(PATH, json={"program_code": GROWN})
    row = await here.get("orders", "all")
    assert (row["version"], row["program_version"], row["program_code"]) == (3, 2, GROWN)
    assert row["refresh_version"] > first["refresh_version"]


async def test_a_program_that_does_not_compile_cannot_be_started(site: Start, never: float) -> None:
    here = await site(step_seconds=never)
    body = {"name": "orders", "program_code": "CREATE TABLE t;\nSYNTAX ERROR"}
    assert (await here.client.post("/v0/pipelines", json=body)).json()["program_status"] == "Pending"
    # An early start is accepted, and ends in an error.
    assert (await here.post("orders", "start")).status_code == 202
    here.server.world.step_seconds = 0.0
    compiler.recompile(here.server.pipelines["orders"])
    await here.until_row("orders", lambda row: row["program_status"] == "SqlError")
    row = await here.get("orders", "all")
    assert row["program_error"]["sql_compilation"]["messages"][0]["start_line_number"] == 2
    row = await here.until_status("orders", "Stopped")
    assert row["deployment_error"]["error_code"] == "StartFailedDueToFailedCompilation"
    refused = await here.post("orders", "start")
    assert (refused.status_code, refused.json()["error_code"]) == (400, "StartFailedDueToFailedCompilation")
    assert (await here.post("orders", "dismiss_error")).status_code == 200
    assert (await here.get("orders"))["deployment_error"] is None


@pytest.mark.parametrize(
    ("policy", "status", "error"),
    [
        ("allow", "Running", None),
        ("reject", "Stopped", "InitializationError"),
        ("await_approval", "AwaitingApproval", None),
    ],
)
async def test_the_policy_of_the_start_decides_what_a_change_means(
    site: Start, policy: str, status: str, error: str | None
) -> None:
    here = await site()
    here.server.add("orders", program=TABLE, state="Stopped")
    await here.client.patch(PATH, json={"program_code": GROWN})
    await here.post("orders", "start", bootstrap_policy=policy)
    row = await here.until_row(
        "orders",
        lambda row: row["deployment_status"] == status and (row["deployment_error"] is None) is (error is None),
    )
    assert (row["deployment_error"] or {}).get("error_code") == error
    assert here.server.approvals == []


async def test_without_a_checkpoint_nothing_is_asked(site: Start) -> None:
    here = await site()
    here.server.add("orders", program=TABLE, state="Stopped", checkpointed=False)
    await here.client.patch(PATH, json={"program_code": GROWN})
    await here.post("orders", "start")
    await here.until_status("orders", "Running")


async def test_a_program_with_lateness_cannot_be_bootstrapped(site: Start) -> None:
    here = await site()
    here.server.add("orders", program="CREATE TABLE t (a INT LATENESS 1);", state="Stopped")
    await here.client.patch(PATH, json={"program_code": GROWN})
    await here.post("orders", "start")
    row = await here.until_row("orders", lambda row: row["deployment_error"] is not None)
    assert "BootstrapNotAllowed" in row["deployment_error"]["message"]


async def test_a_standby_asks_when_it_is_activated(site: Start) -> None:
    here = await site()
    here.server.add("orders", program=TABLE, state="Stopped")
    await here.client.patch(PATH, json={"program_code": GROWN})
    await here.post("orders", "start", initial="standby")
    await here.until_status("orders", "Standby")
    assert (await here.post("orders", "activate")).status_code == 202
    row = await here.until_status("orders", "AwaitingApproval")
    assert row["deployment_runtime_status_details"]["approval_diff"]["program_diff"]["added_views"] == ["v"]


async def test_pausing_a_waiting_pipeline_changes_only_what_it_becomes(site: Start) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    assert (await here.post("orders", "pause")).status_code == 202
    row = await here.get("orders")
    assert (row["deployment_status"], row["deployment_desired_status"]) == ("AwaitingApproval", "Paused")
    await here.post("orders", "approve")
    await here.until_status("orders", "Paused")


async def test_a_platform_upgrade_modifies_views_whose_text_is_the_same(site: Start) -> None:
    here = await site()
    here.server.add("orders", program=GROWN, state="Stopped", platform_version="0.300.0")
    response = await here.post("orders", "update_runtime")
    assert response.json()["platform_version"] == here.server.world.platform_version
    await here.post("orders", "start")
    row = await here.until_status("orders", "AwaitingApproval")
    diff = row["deployment_runtime_status_details"]["approval_diff"]["program_diff"]
    assert (diff["modified_views"], diff["modified_tables"]) == (["v"], [])


async def test_a_name_can_be_used_again_by_another_pipeline(site: Start) -> None:
    here = await site()
    first = here.server.add("orders").id
    here.server.remove("orders")
    assert (await here.client.get(PATH)).status_code == 404
    second = here.server.add("orders").id
    assert second > first
    assert (await here.get("orders"))["id"] == second


async def test_the_list_is_in_order_of_creation_and_knows_three_selectors(site: Start) -> None:
    here = await site()
    for name in ("zebra", "ant", "mole"):
        here.server.add(name)
    sizes = {}
    for selector in ("status", "status_with_connectors", "all"):
        rows = (await here.client.get("/v0/pipelines", params={"selector": selector})).json()
        assert [row["name"] for row in rows] == ["zebra", "ant", "mole"]
        assert sorted(row["id"] for row in rows) == [row["id"] for row in rows]
        sizes[selector] = len(rows[0])
    assert sizes == {"status": 33, "status_with_connectors": 34, "all": 40}
    assert len((await here.client.get("/v0/pipelines")).json()[0]) == 40


async def test_ten_thousand_pipelines_at_rest_have_no_timers_and_one_change_shows_in_the_list(site: Start) -> None:
    here = await site(lag_seconds=0.01)
    for number in range(10_000):
        here.server.add(f"p{number}", program=TABLE)
    assert len(here.server.world.timers) == 0
    rows = (await here.client.get("/v0/pipelines?selector=status")).json()
    assert len(rows) == 10_000
    here.server.ask("p77")
    rows = (await here.client.get("/v0/pipelines?selector=status")).json()
    assert [row["name"] for row in rows if row["deployment_status"] == "AwaitingApproval"] == ["p77"]
    assert here.server.counts[("GET", "/v0/pipelines", "status")] == 2
