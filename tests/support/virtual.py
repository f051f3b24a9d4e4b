"""Tests in virtual time: at once, however long the timers are, and a test that waits for ever fails."""

import functools
import random
from collections.abc import Awaitable, Callable

from simulation.loop import SimLoop

LONG = 1e6
"""Seconds; nothing that is awaited comes later."""


def in_virtual_time(story: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """A test whose loop's clock goes on by itself when everybody waits."""

    @functools.wraps(story)
    def test() -> None:
        loop, tasks = SimLoop(random.Random(0)), []
        process = loop.spawn("test")
        process.call_soon(lambda: tasks.append(loop.create_task(story())))
        loop.run_until(2 * LONG)
        [task] = tasks
        assert task.done(), "the test waits for something that does not come"
        task.result()

    return test
