"""The supervisor leaves no task behind, and none dies unnoticed."""

import asyncio
import contextlib

import pytest

from pipeline_approver.engine import supervisor as supervising
from pipeline_approver.engine.supervisor import Supervisor
from support.stage import PATIENCE_SECONDS


async def test_a_task_that_another_starts_while_it_ends_is_ended_too() -> None:
    deaths: list[str] = []
    supervisor = Supervisor(on_death=deaths.append)
    ended: list[str] = []

    async def wait(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def start_another_in_the_end() -> None:
        try:
            await wait("first")
        finally:
            supervisor.spawn("second", wait("second"))

    supervisor.spawn("first", start_another_in_the_end())
    await asyncio.sleep(0)
    await supervisor.close()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    assert ended == ["first", "second"]
    assert deaths == []


async def test_a_task_that_dies_is_told() -> None:
    deaths: list[str] = []
    supervisor = Supervisor(on_death=deaths.append)

    async def die() -> None:
        raise ValueError("a defect")

    task = supervisor.spawn("worker", die())
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert deaths == ["worker"]
    await supervisor.close()


async def test_a_task_that_suppresses_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "AGAIN_SECONDS", 0.0)
    supervisor = Supervisor(on_death=lambda _: None)
    heard: list[str] = []

    async def suppress() -> None:
        for _ in range(2):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            heard.append("cancelled")

    supervisor.spawn("deaf", suppress())
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await supervisor.close()
    assert heard == ["cancelled"] * 2
