"""The work queue: every key once, never two workers on one key, people first. Time is virtual."""

import asyncio
import contextlib

from pipeline_approver.engine.queue import Lane, WorkQueue
from support.virtual import LONG, in_virtual_time


async def take(queue: WorkQueue, lane: Lane = Lane.BACKGROUND) -> str | None:
    """The next key, also one that comes later; None when none comes."""
    with contextlib.suppress(TimeoutError):
        return await asyncio.wait_for(queue.get(lane), LONG / 4)
    return None


@in_virtual_time
async def test_a_key_waits_only_once() -> None:
    queue = WorkQueue()
    for key in "abab":
        queue.add(key)
    assert [await take(queue), await take(queue), await take(queue)] == ["a", "b", None]


@in_virtual_time
async def test_a_person_overtakes_background_work() -> None:
    queue = WorkQueue()
    queue.add("a")
    queue.add("b")
    queue.add("b", lane=Lane.URGENT)
    assert await take(queue, Lane.URGENT) == "b"
    assert await take(queue) == "a"
    assert await take(queue) is None
    queue.done("a")
    assert len(queue) == 1


@in_virtual_time
async def test_background_work_does_not_demote_what_a_person_caused() -> None:
    queue = WorkQueue()
    queue.add("a", lane=Lane.URGENT)
    queue.add("a")
    assert await take(queue, Lane.URGENT) == "a"
    assert await take(queue) is None


@in_virtual_time
async def test_a_key_that_changes_while_it_is_worked_on_comes_again_afterwards() -> None:
    queue = WorkQueue()
    queue.add("a")
    assert await take(queue) == "a"
    queue.add("a", lane=Lane.URGENT)
    queue.add("a")
    assert (await take(queue, Lane.URGENT), await take(queue)) == (None, None)
    queue.done("a")
    assert await take(queue, Lane.URGENT) == "a"
    queue.done("a")
    assert (await take(queue, Lane.URGENT), await take(queue)) == (None, None)


@in_virtual_time
async def test_of_several_delays_the_shortest_counts_and_the_others_not() -> None:
    queue = WorkQueue()
    for seconds in (300, 100, 200):
        queue.add_later("a", seconds=seconds)
    loop = asyncio.get_running_loop()
    assert await take(queue) == "a"
    assert round(loop.time()) == 100
    queue.done("a")
    assert await take(queue) is None


@in_virtual_time
async def test_a_delay_that_is_over_stands_in_the_way_of_no_other() -> None:
    queue = WorkQueue()
    for _ in range(3):
        queue.add_later("a", seconds=100)
        assert await take(queue) == "a"
        queue.done("a")


@in_virtual_time
async def test_a_forgotten_key_does_not_come_back() -> None:
    queue = WorkQueue()
    for lane in Lane:
        queue.add(f"in lane {lane}", lane=lane)
        queue.forget(f"in lane {lane}")
    queue.add_later("late", seconds=1)
    queue.forget("late")
    queue.add("busy")
    assert await take(queue) == "busy"
    queue.add("busy")
    queue.forget("busy")
    queue.done("busy")
    assert (await take(queue), await take(queue, Lane.URGENT)) == (None, None)
    assert len(queue) == 0


@in_virtual_time
async def test_back_off_doubles_up_to_a_minute_until_success() -> None:
    queue = WorkQueue()

    async def measure() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        queue.retry("a")
        assert await take(queue) == "a"
        queue.done("a")
        return round(loop.time() - before, 2)

    assert [await measure() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    queue.succeed("a")
    assert [await measure() for _ in range(2)] == [0.5, 1]
    queue.forget("a")
    assert await measure() == 0.5


@in_virtual_time
async def test_passes_that_find_nothing_to_do_hold_up_nothing_else() -> None:
    queue, left = WorkQueue(), list[int]()
    for number in range(100):
        queue.add(str(number))

    async def work() -> None:
        while len(queue):
            queue.done(await queue.get(Lane.BACKGROUND))

    async def look() -> None:
        left.append(len(queue))

    await asyncio.gather(work(), look())
    assert left[0] > 90
