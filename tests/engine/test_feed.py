"""What a feed knows of each pipeline when the list, or a part of it, cannot be read."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from pipeline_approver.core.case import Observation
from pipeline_approver.engine.feed import Feed
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import Connection
from support.feldera import build_row


class Desk:
    """A feed, and a Feldera that answers as the test says."""

    def __init__(self) -> None:
        self.names = ["orders", "payments", "gone"]
        self.listed: bytes = b"[]"
        self.single: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.told: list[str] = []
        self.feed = Feed(
            label="own",
            interval_seconds=1,
            names=lambda: self.names,
            changed=lambda names: self.told.extend(names),
            everything_changed=lambda: self.told.append("*"),
            measure=lambda _: None,
        )
        transport = httpx.MockTransport(self.answer)
        self.feed.client = FelderaClient(Connection(url="http://feldera.test"), transport=transport)

    def answer(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/v0/pipelines").removeprefix("/")
        if not name:
            return httpx.Response(200, content=self.listed)
        self.asked.append(name)
        if name in self.single:
            return httpx.Response(200, content=self.single[name])
        return httpx.Response(404, json={"error_code": "UnknownPipelineName", "message": "unknown"})

    def list(self, *rows: Any) -> None:
        self.listed = json.dumps(rows).encode()

    async def poll(self, times: int = 1) -> None:
        for _ in range(times):
            self.asked.clear()
            self.told.clear()
            await self.feed.poll()

    def know(self, name: str) -> Observation:
        return self.feed.observe(name)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    assert desk.feed.client is not None
    await desk.feed.client.aclose()


ROW = build_row(deployment_status="Running")
BROKEN = dict.fromkeys(ROW)


async def test_a_whole_list_says_who_is_there_and_who_is_not(desk: Desk) -> None:
    desk.list(ROW, build_row(name="payments"))
    assert desk.know("gone") == Observation()
    await desk.poll()
    assert desk.know("orders").view is not None
    assert desk.know("gone").absent
    assert set(desk.told) == {"*", "orders", "payments", "gone"}
    await desk.poll()
    assert (desk.asked, desk.told) == ([], [])


async def test_a_row_that_cannot_be_read_is_asked_for_singly(desk: Desk) -> None:
    desk.list(ROW, BROKEN)
    desk.single["payments"] = json.dumps(build_row(name="payments")).encode()
    await desk.poll()
    assert set(desk.asked) == {"payments", "gone"}
    assert desk.know("payments").view is not None
    assert desk.know("gone").absent
    assert all(desk.know(name).problem is None for name in desk.names)


async def test_a_pipeline_that_cannot_be_read_at_all_is_said_to_be_so_and_nobody_else(desk: Desk) -> None:
    desk.list(ROW, build_row(name="payments"))
    await desk.poll()
    view = desk.know("payments").view
    desk.list(ROW, BROKEN)
    desk.single["payments"] = json.dumps(BROKEN).encode()
    await desk.poll(2)
    # For a moment what was known before counts.
    assert (desk.know("payments").view, desk.know("payments").problem) == (view, None)
    await desk.poll()
    problem = desk.know("payments").problem
    assert problem is not None
    assert problem.reason == "BadAnswer"
    assert "this pipeline cannot be read, though others can" in problem.message
    assert desk.told == ["payments"]
    assert (desk.know("orders").problem, desk.know("gone").problem) == (None, None)
    await desk.poll()
    assert desk.told == []
    desk.list(ROW, build_row(name="payments", program_version=8))
    await desk.poll()
    assert desk.know("payments").problem is None
    assert desk.told == ["payments"]


async def test_a_pipeline_that_was_never_read_is_neither_there_nor_absent(desk: Desk) -> None:
    desk.names = ["payments"]
    desk.list(BROKEN)
    desk.single["payments"] = b"null"
    await desk.poll()
    assert desk.know("payments") == Observation()
    desk.names.append("new")
    assert desk.know("new") == Observation()


@pytest.mark.parametrize(
    "listed", [b'[{"id": ', b"[" * 10_000 + b"]" * 10_000, b"[\xff]"], ids=["cut", "deep", "bytes"]
)
async def test_a_list_that_is_broken_somewhere_is_replaced_by_single_reads(desk: Desk, listed: bytes) -> None:
    desk.listed = listed
    desk.single["orders"] = json.dumps(ROW).encode()
    desk.single["payments"] = b"["
    await desk.poll(3)
    assert desk.know("orders").view is not None
    assert desk.know("orders").problem is None
    assert desk.know("gone").absent
    assert desk.know("payments").problem is not None
    assert desk.feed.problem is None


async def test_where_nothing_can_be_read_the_connection_is_at_fault(desk: Desk) -> None:
    desk.listed = b"[{"
    desk.single = dict.fromkeys(desk.names, b"{")
    await desk.poll(3)
    assert desk.feed.problem is not None
    assert all(desk.know(name).problem == desk.feed.problem for name in desk.names)


async def test_something_else_than_a_list_is_not_asked_for_in_pieces(desk: Desk) -> None:
    """A proxy's page in place of the list would else cost a request for every Pipeline."""
    desk.listed = b"<html></html>"
    await desk.poll(3)
    assert desk.asked == []
    assert desk.feed.problem is not None
    assert "is this the url of a Feldera API server" in desk.feed.problem.message


async def test_a_fresh_read_says_at_once_that_a_pipeline_is_gone(desk: Desk) -> None:
    desk.list(BROKEN)
    desk.feed.update("orders", None, began=asyncio.get_running_loop().time())
    assert desk.know("orders").absent
