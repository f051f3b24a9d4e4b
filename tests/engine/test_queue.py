"""The work queue: every key once, never two workers on one key, people first."""

import asyncio
import itertools

from pipeline_approver.engine.queue import Lane, WorkQueue


async def test_a_key_waits_only_once() -> None:
    queue = WorkQueue()
    for _ in range(3):
        queue.add("a")
    queue.add("b")
    assert [await queue.get(Lane.BACKGROUND) for _ in range(2)] == ["a", "b"]


async def test_a_person_overtakes_background_work() -> None:
    queue = WorkQueue()
    queue.add("a")
    queue.add("b")
    queue.add("b", lane=Lane.URGENT)
    assert await queue.get(Lane.URGENT) == "b"
    assert await queue.get(Lane.BACKGROUND) == "a"
    queue.done("a")
    assert len(queue) == 1


async def test_background_work_does_not_demote_what_a_person_caused() -> None:
    queue = WorkQueue()
    queue.add("a", lane=Lane.URGENT)
    queue.add("a")
    assert await queue.get(Lane.URGENT) == "a"


async def test_a_key_that_changes_while_it_is_worked_on_comes_again_afterwards() -> None:
    queue = WorkQueue()
    queue.add("a")
    key = await queue.get(Lane.BACKGROUND)
    queue.add("a", lane=Lane.URGENT)
    queue.add("a")
    waiting = asyncio.create_task(queue.get(Lane.URGENT))
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.done(key)
    assert await waiting == "a"


async def test_of_several_delays_the_shortest_counts() -> None:
    queue = WorkQueue()
    queue.add_later("a", seconds=3600)
    queue.add_later("a", seconds=0)
    queue.add_later("a", seconds=1800)
    assert await queue.get(Lane.BACKGROUND) == "a"


async def test_a_forgotten_key_does_not_come_back() -> None:
    queue = WorkQueue()
    queue.add("a")
    queue.add_later("b", seconds=0)
    queue.forget("a")
    queue.forget("b")
    queue.add_later("c", seconds=0)
    assert await queue.get(Lane.BACKGROUND) == "c"
    assert len(queue) == 1


async def test_back_off_grows_until_success() -> None:
    queue, loop = WorkQueue(), asyncio.get_running_loop()
    delays = []
    for _ in range(4):
        before = loop.time()
        queue.retry("a")
        delays.append(queue._timers["a"].when() - before)
        queue._timers.pop("a").cancel()
    assert all(later > 1.5 * earlier for earlier, later in itertools.pairwise(delays))
    queue.succeed("a")
    queue.retry("a")
    assert queue._timers["a"].when() - loop.time() < delays[1]
    queue.forget("a")


async def test_passes_that_find_nothing_to_do_hold_up_nothing_else() -> None:
    queue = WorkQueue()
    left: list[int] = []
    for number in range(100):
        queue.add(str(number))

    async def work() -> None:
        while len(queue):
            queue.done(await queue.get(Lane.BACKGROUND))

    async def look() -> None:
        left.append(len(queue))

    await asyncio.gather(work(), look())
    assert left[0] > 90
