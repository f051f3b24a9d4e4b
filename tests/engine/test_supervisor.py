"""The supervisor leaves no task behind, and none dies unnoticed."""

import asyncio

from pipeline_approver.engine.supervisor import Supervisor


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
