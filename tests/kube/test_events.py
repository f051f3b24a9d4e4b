"""Events: one per transition, the same one counted, and never in anybody's way."""

import asyncio
import contextlib
import datetime
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from pipeline_approver.kube.api import KubeApi
from pipeline_approver.kube.events import EventRecorder, ObjectRef
from pipeline_approver.sandbox.kube import KubeServer

START = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
ORDERS = ObjectRef(
    api_version="pipeline-approver.io/v1alpha1",
    kind="Pipeline",
    namespace="default",
    name="orders",
    uid="uid-1",
    resource_version="7",
)


class Desk:
    """A recorder with a clock that only the test moves, and pauses that are noted instead of slept."""

    def __init__(self, kube: KubeApi, **options: Any) -> None:
        self.now = START
        self.pauses: list[float] = []
        self.recorder = EventRecorder(kube, now=lambda: self.now, sleep=self.pause, **options)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += datetime.timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def record(self, regarding: ObjectRef = ORDERS, **fields: str) -> None:
        event = {
            "type": "Normal",
            "reason": "Approved",
            "message": "request 3f9a1c07be42 was approved",
            "action": "Approve",
        }
        self.recorder.record(regarding, **{**event, **fields})

    async def drained(self) -> None:
        await self.recorder.drain(timeout=30)
        self.now += datetime.timedelta(seconds=1)


@pytest.fixture
async def desk(kube: KubeApi) -> AsyncIterator[Desk]:
    async with running(Desk(kube)) as desk:
        yield desk


@contextlib.asynccontextmanager
async def running(desk: Desk) -> AsyncIterator[Desk]:
    task = asyncio.create_task(desk.recorder.run())
    yield desk
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_event_says_what_happened_to_what(server: KubeServer, desk: Desk) -> None:
    desk.record(type="Warning", reason="Failed", message="no", action="Approve")
    await desk.drained()
    [event] = server.list("events")
    assert event["involvedObject"] == {
        "apiVersion": "pipeline-approver.io/v1alpha1",
        "kind": "Pipeline",
        "namespace": "default",
        "name": "orders",
        "uid": "uid-1",
        "resourceVersion": "7",
    }
    assert (event["type"], event["reason"], event["message"], event["action"]) == ("Warning", "Failed", "no", "Approve")
    assert event["count"] == 1
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-11-23T12:00:00Z"
    assert event["source"] == {"component": "pipeline-approver"}


async def test_the_same_event_again_is_counted(server: KubeServer, kube: KubeApi, desk: Desk) -> None:
    desk.record()
    await desk.drained()
    desk.record()
    await desk.drained()
    async with running(Desk(kube)) as restarted:
        restarted.now = START + datetime.timedelta(hours=2)
        restarted.record()
        await restarted.drained()
    [event] = server.list("events")
    assert event["count"] == 3
    assert (event["firstTimestamp"], event["lastTimestamp"]) == ("2026-11-23T12:00:00Z", "2026-11-23T14:00:00Z")


@pytest.mark.parametrize("other", [{"type": "Warning"}, {"reason": "Rejected"}, {"message": "request 81d04c11f2aa"}])
async def test_another_event_is_another_one(server: KubeServer, desk: Desk, other: dict[str, str]) -> None:
    desk.record()
    desk.record(**other)
    desk.record(ObjectRef(**{**{name: getattr(ORDERS, name) for name in ORDERS.__slots__}, "uid": "uid-2"}))
    await desk.drained()
    assert [event["count"] for event in server.list("events")] == [1, 1, 1]


async def test_an_event_that_has_run_out_begins_anew(server: KubeServer, desk: Desk) -> None:
    desk.record()
    await desk.drained()
    server.delete("events", "default", server.list("events")[0]["metadata"]["name"])
    desk.record()
    await desk.drained()
    assert [event["count"] for event in server.list("events")] == [1]


@pytest.mark.parametrize("verb", ["get", "patch"])
async def test_an_event_that_runs_out_while_it_is_counted_begins_anew(
    server: KubeServer, desk: Desk, verb: str
) -> None:
    desk.record()
    await desk.drained()
    name = server.list("events")[0]["metadata"]["name"]
    hold = server.hold((verb, "events"))
    desk.record()
    await hold.reached.wait()
    server.delete("events", "default", name)
    hold.release()
    await desk.drained()
    assert [event["count"] for event in server.list("events")] == [1]


@pytest.mark.parametrize("name", ["o" * 253, "a" * 199 + "-" + "b" * 53, "a" * 199 + "." + "b" * 53, "o"], ids=len)
async def test_a_long_name_is_cut(server: KubeServer, desk: Desk, name: str) -> None:
    desk.record(ObjectRef(api_version="v1", kind="Pipeline", namespace="default", name=name, uid="u"))
    await desk.drained()
    [event] = server.list("events")
    assert len(event["metadata"]["name"]) <= 253
    assert "-." not in event["metadata"]["name"]
    assert ".." not in event["metadata"]["name"]
    assert event["involvedObject"]["name"] == name


async def test_a_long_message_is_cut(server: KubeServer, desk: Desk) -> None:
    for text in ("x" * 300_000, "é🍝" * 100_000, "\x00\ud800\n" * 1000):
        desk.record(message=text)
    await desk.drained()
    assert len(server.list("events")) == 3
    assert all(len(event["message"]) <= 1024 for event in server.list("events"))


@pytest.mark.parametrize("status", [429, 500, 503, 504])
async def test_an_api_that_is_away_is_asked_again_with_longer_and_longer_pauses(
    server: KubeServer, desk: Desk, status: int
) -> None:
    server.faults.add(("create", "events"), kind="status", status=status, times=3)
    desk.record()
    await desk.drained()
    assert desk.pauses == [0.5, 1.0, 2.0]
    assert [event["count"] for event in server.list("events")] == [1]


async def test_a_pause_that_the_server_asks_for_is_kept_within_bounds(server: KubeServer, desk: Desk) -> None:
    server.faults.add(("create", "events"), kind="status", status=429, retry_after=7)
    server.faults.add(("create", "events"), kind="status", status=429, retry_after=10**9)
    desk.record()
    await desk.drained()
    assert desk.pauses == [7.0, 60.0]
    assert len(server.list("events")) == 1


async def test_an_api_that_stays_away_costs_the_event_and_nothing_else(
    server: KubeServer, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    fault = server.faults.add(("create", "events"), kind="status", status=503, times=None)
    desk.record(message="lost")
    await desk.drained()
    assert desk.pauses == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert [record.getMessage() for record in caplog.records] == ["an Event could not be posted after 5 tries"]
    server.faults.remove(fault)
    desk.record(message="posted")
    await desk.drained()
    assert [event["message"] for event in server.list("events")] == ["posted"]


@pytest.mark.parametrize("kind", ["applied_then_status", "applied_then_drop", "drop_mid_body", "truncate", "html"])
async def test_an_event_whose_answer_is_lost_is_not_counted_twice(server: KubeServer, desk: Desk, kind: str) -> None:
    for verb, count in (("create", 1), ("patch", 2)):
        server.faults.add((verb, "events"), kind=kind, status=500 if kind == "applied_then_status" else 200)
        desk.record()
        await desk.drained()
        assert [event["count"] for event in server.list("events")] == [count]


async def test_a_missing_permission_is_logged_once_an_hour(
    server: KubeServer, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    server.allow = lambda *_: False
    for minutes in (0, 1, 30, 61):
        desk.now = START + datetime.timedelta(minutes=minutes)
        desk.record(message=str(minutes))
        await desk.drained()
    assert desk.pauses == []
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert all("Events cannot be posted" in message and "forbidden" in message for message in messages)
    server.allow = None
    desk.record()
    await desk.drained()
    assert len(server.list("events")) == 1


@pytest.mark.parametrize("status", [400, 404, 409, 410, 422])
async def test_an_event_that_is_refused_is_logged_and_left(
    server: KubeServer, desk: Desk, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """404: the namespace is gone. 409 without an Event of the name: the namespace ends."""
    server.faults.add(("create", "events"), kind="status", status=status, times=None)
    desk.record()
    await desk.drained()
    assert desk.pauses == []
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert "an Event could not be posted" in caplog.records[0].getMessage()


async def test_of_too_many_events_the_oldest_are_dropped_with_one_word(
    server: KubeServer, kube: KubeApi, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(Desk(kube, most_waiting=3)) as desk:
        for round_ in ("a", "b"):
            hold = server.hold(("create", "events"))
            desk.record(message=f"{round_} first")
            await hold.reached.wait()
            for number in range(6):
                desk.record(message=f"{round_} {number}")
            server.faults.clear()
            await desk.drained()
    expected = {f"{round_} {number}" for round_ in "ab" for number in ("first", 3, 4, 5)}
    assert {event["message"] for event in server.list("events")} == expected
    words = "more than 3 Events wait to be posted; the oldest are dropped"
    assert [record.getMessage() for record in caplog.records] == [words, words]


async def test_recording_never_waits(server: KubeServer, desk: Desk) -> None:
    server.hold(("create", "events"))
    for number in range(100):
        desk.record(message=str(number))
    await desk.recorder.drain(timeout=0.01)
    assert server.list("events") == []


async def test_draining_waits_for_all(server: KubeServer, desk: Desk) -> None:
    for number in range(50):
        desk.record(message=str(number))
    await desk.drained()
    assert len(server.list("events")) == 50


async def test_an_answer_that_makes_no_sense_does_not_end_the_recorder(serve: Any) -> None:
    async def handler(request: web.Request) -> web.Response:
        if request.method == "POST":
            return web.json_response({}, status=409)
        return web.json_response({"metadata": {}, "count": "many", "lastTimestamp": 3})

    async with running(Desk(await serve(handler))) as desk:
        desk.record()
        await desk.drained()
        assert desk.pauses == []
