"""Faults spoil exactly the requests they match, and say truthfully whether the request was applied."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

Start = Callable[..., Awaitable[Any]]
APPROVE = ("POST", "approve")


async def test_a_status_fault_is_not_applied_and_is_used_up(site: Start) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    fault = here.server.faults.add(APPROVE, kind="status", retry_after=5, times=2)
    for _ in range(2):
        response = await here.post("orders", "approve")
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert response.json()["error_code"] == "PipelineInteractionUnreachable"
    assert here.server.approvals == []
    assert (await here.post("orders", "approve")).status_code == 200
    assert fault.hits == 2


async def test_a_transient_401_looks_like_that_of_feldera(site: Start) -> None:
    here = await site()
    here.server.faults.add(("GET", "list"), kind="status", status=401, code="AuthenticationFailed")
    response = await here.client.get("/v0/pipelines")
    assert response.headers["content-type"].startswith("text/plain")
    assert (response.status_code, response.json()["error_code"]) == (401, "AuthenticationFailed")
    assert (await here.client.get("/v0/pipelines")).status_code == 200


async def test_a_fault_may_be_meant_for_one_pipeline_and_last_until_cleared(site: Start) -> None:
    here = await site()
    for name in ("orders", "payments"):
        here.server.add(name)
    here.server.faults.add(
        ("GET", "get"), kind="status", status=500, code="PostgresError", times=None, pipeline="orders"
    )
    for _ in range(3):
        assert (await here.client.get("/v0/pipelines/orders")).status_code == 500
    assert (await here.client.get("/v0/pipelines/payments")).status_code == 200
    assert (await here.client.get("/v0/pipelines")).status_code == 200
    here.server.faults.clear()
    assert (await here.client.get("/v0/pipelines/orders")).status_code == 200


async def test_an_error_after_it_was_applied(site: Start) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    here.server.faults.add(APPROVE, kind="applied_then_status", status=500, code="PostgresError")
    assert (await here.post("orders", "approve")).status_code == 500
    assert [approval.effective for approval in here.server.approvals] == [True]


@pytest.mark.parametrize(
    ("kind", "applied"),
    [("drop", False), ("applied_then_drop", True), ("drop_mid_body", True)],
)
async def test_a_cut_connection(site: Start, kind: str, applied: bool) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    here.server.faults.add(APPROVE, kind=kind)
    with pytest.raises(httpx.TransportError):
        await here.post("orders", "approve")
    assert bool(here.server.approvals) is applied
    assert here.server.requests[-1].status == 0


@pytest.mark.parametrize(("kind", "applied"), [("hang", False), ("applied_then_hang", True)])
async def test_an_answer_that_never_comes(site: Start, kind: str, applied: bool) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    here.server.faults.add(APPROVE, kind=kind)
    with pytest.raises(httpx.ReadTimeout):
        await here.client.post("/v0/pipelines/orders/approve", timeout=0.2)
    assert bool(here.server.approvals) is applied


async def test_bodies_that_are_not_what_they_should_be(site: Start) -> None:
    here = await site()
    here.server.add("orders")
    path = "/v0/pipelines?selector=status"
    here.server.faults.add(("GET", "list"), kind="truncate")
    with pytest.raises(json.JSONDecodeError):
        (await here.client.get(path)).json()
    here.server.faults.add(("GET", "list"), kind="nulls")
    [row] = (await here.client.get(path)).json()
    assert len(row) == 33
    assert set(row.values()) == {None}
    here.server.faults.add(("GET", "list"), kind="html", status=200)
    assert (await here.client.get(path)).headers["content-type"].startswith("text/html")
    here.server.faults.add(("GET", "list"), kind="huge", size=3_000_000)
    huge = await here.client.get(path)
    assert len(huge.content) == 3_000_000
    assert [one["name"] for one in huge.json()] == ["orders"]
    here.server.faults.add(("GET", "list"), kind="delay", seconds=0.01)
    assert len((await here.client.get(path)).json()) == 1


async def test_an_unknown_kind_of_fault_is_refused(site: Start) -> None:
    here = await site()
    with pytest.raises(ValueError, match="unknown kind"):
        here.server.faults.add(APPROVE, kind="explode")


@pytest.mark.parametrize(("where", "applied"), [("before", 0), ("after", 1)])
async def test_a_hold_stops_a_request_before_or_after_it_is_applied(site: Start, where: str, applied: int) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    hold = here.server.hold(APPROVE, where=where)
    call = asyncio.ensure_future(here.post("orders", "approve"))
    await hold.reached.wait()
    assert len(here.server.approvals) == applied
    hold.release()
    assert (await call).status_code == 200
    assert len(here.server.approvals) == 1


async def test_a_held_request_is_applied_although_its_client_is_gone(site: Start) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    hold = here.server.hold(APPROVE)
    call = asyncio.ensure_future(here.post("orders", "approve"))
    await hold.reached.wait()
    call.cancel()
    hold.release()
    await here.until_status("orders", "Running")
    assert len(here.server.approvals) == 1


async def test_a_held_request_can_be_cut_off_before_it_is_applied(site: Start) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    hold = here.server.hold(APPROVE, pipeline="orders")
    call = asyncio.ensure_future(here.post("orders", "approve"))
    await hold.reached.wait()
    hold.release(cut=True)
    with pytest.raises(httpx.TransportError):
        await call
    assert here.server.approvals == []


async def test_every_request_is_recorded(site: Start) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    before = time.time()
    await here.client.get("/v0/pipelines?selector=status")
    await here.post("orders", "approve", silent_bootstrap="false")
    await here.client.get("/v0/nothing")
    seen = [(r.method, r.path, r.query, r.status) for r in here.server.requests]
    assert seen == [
        ("GET", "/v0/pipelines", "selector=status", 200),
        ("POST", "/v0/pipelines/orders/approve", "silent_bootstrap=false", 200),
        ("GET", "/v0/nothing", "", 404),
    ]
    assert all(request.at >= before for request in here.server.requests)
    assert here.server.counts[("POST", "/v0/pipelines/{name}/approve", "")] == 1
