"""Answers overtake each other: what a feed believes when they do, and whom it tells."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from pipeline_approver.core.observation import PipelineView
from pipeline_approver.engine.feed import Feed
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import Connection

OLD = PipelineView(id="p", name="orders", status="AwaitingApproval")
NEW = PipelineView(id="p", name="orders", status="Running")


class Desk:
    """A feed whose lists are held up until the test lets them go."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.status = "Running"
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.fails = False
        self.feed = Feed(
            label="own",
            interval_seconds=1,
            names=lambda: ["orders"],
            changed=self.told.extend,
            everything_changed=lambda: self.told.append("*"),
            measure=lambda _: None,
        )
        self.feed.client = FelderaClient(
            Connection(url="http://feldera.test"), transport=httpx.MockTransport(self.answer)
        )

    async def answer(self, request: httpx.Request) -> httpx.Response:
        if self.fails:
            return httpx.Response(429)
        row = {"id": "p", "name": "orders", "deployment_status": self.status}
        self.asked.set()
        await self.go.wait()
        return httpx.Response(200, content=json.dumps([row]))

    @property
    def known(self) -> str:
        view = self.feed.observe("orders").view
        return view.status if view is not None else ""

    def now(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    assert desk.feed.client is not None
    await desk.feed.client.aclose()


async def test_an_answer_to_an_older_question_is_dropped(desk: Desk) -> None:
    began = desk.now()
    await desk.feed.poll()
    desk.feed.update("orders", OLD, began=began)
    assert desk.known == "Running"
    desk.feed.update("orders", OLD, began=desk.now())
    assert desk.known == "AwaitingApproval"


async def test_a_list_does_not_overwrite_what_was_asked_for_while_it_was_under_way(desk: Desk) -> None:
    desk.go.clear()
    polling = asyncio.create_task(desk.feed.poll())
    await desk.asked.wait()
    desk.feed.update("orders", OLD, began=desk.now())
    desk.go.set()
    await polling
    assert desk.known == "AwaitingApproval"
    await desk.feed.poll()
    assert desk.known == "Running"


async def test_a_list_like_the_last_one_still_corrects_what_a_single_read_said(desk: Desk) -> None:
    await desk.feed.poll()
    desk.feed.update("orders", OLD, began=desk.now())
    desk.told.clear()
    await desk.feed.poll()
    assert (desk.known, desk.told) == ("Running", ["orders"])


async def test_what_is_known_is_as_old_as_its_question(desk: Desk) -> None:
    before = desk.now()
    await desk.feed.poll()
    between = desk.now()
    assert desk.feed.is_current("orders", since=before)
    assert not desk.feed.is_current("orders", since=between)
    await desk.feed.poll()
    assert desk.feed.is_current("orders", since=between)
    began = desk.now()
    assert not desk.feed.is_current("orders", since=began)
    desk.feed.update("orders", NEW, began=began)
    assert desk.feed.is_current("orders", since=began)


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass at once."""
    clock, passed = asyncio.BaseEventLoop.time, [0.0]
    monkeypatch.setattr(asyncio.BaseEventLoop, "time", lambda self: clock(self) + sum(passed))
    return passed.append


@pytest.mark.parametrize("fails", [False, True])
async def test_who_stood_still_knows_nothing_that_is_current(
    desk: Desk, let_pass: Callable[[float], None], fails: bool
) -> None:
    """What it learned before that may be long over, however it was learned."""
    desk.fails = fails
    for _ in range(3):
        await desk.feed.poll()
    assert desk.feed.is_current("orders", since=None)
    let_pass(900.0)
    assert not desk.feed.is_current("orders", since=None)
    await desk.feed.poll()
    assert desk.feed.is_current("orders", since=None)


async def test_a_poll_or_two_that_failed_leave_what_is_known_current(
    desk: Desk, let_pass: Callable[[float], None]
) -> None:
    """Else one lost connection would hold decisions up for a whole interval."""
    await desk.feed.poll()
    desk.fails = True
    for _ in range(2):
        let_pass(60.0)
        await desk.feed.poll()
        assert desk.feed.is_current("orders", since=None)


async def test_a_poll_that_fails_after_a_long_stand_still_makes_nothing_current(
    desk: Desk, let_pass: Callable[[float], None]
) -> None:
    await desk.feed.poll()
    let_pass(900.0)
    desk.fails = True
    await desk.feed.poll()
    assert not desk.feed.is_current("orders", since=None)


@pytest.mark.parametrize("fails", [False, True])
async def test_who_awaits_news_is_told_after_the_next_poll_although_nothing_has_changed(
    desk: Desk, fails: bool
) -> None:
    desk.fails = fails
    for _ in range(4):
        await desk.feed.poll()
    assert (desk.feed.problem is not None) is fails
    desk.told.clear()
    await desk.feed.poll()
    assert desk.told == []
    desk.feed.await_news("orders")
    wanted = desk.now()
    await desk.feed.poll()
    assert desk.told == ["orders"]
    assert desk.feed.is_current("orders", since=wanted)
    await desk.feed.poll()
    assert desk.told == ["orders"]
