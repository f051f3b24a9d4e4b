"""Starts our own tasks, and ends the process when one of them dies: kopf supervises only its own."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

AGAIN_SECONDS = 1.0

log = logging.getLogger(__name__)


class Supervisor:
    """The tasks of the engine. A task may end, or be cancelled by its owner; an exception is fatal."""

    def __init__(self, *, on_death: Callable[[str], None]) -> None:
        self._on_death = on_death
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.dead = ""
        """The name of a task that died."""

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._bury)
        return task

    def _bury(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self._closing:
            log.critical("the task %r died, so the process ends", task.get_name(), exc_info=error)
            self.dead = self.dead or task.get_name()
            self._on_death(task.get_name())

    async def close(self) -> None:
        """Cancel all tasks and wait until they have ended, also those that they start in their end."""
        self._closing = True
        while self._tasks:
            # A task that is cancelled before its first step never gets to close what it was given.
            await asyncio.sleep(0)
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            # A library may suppress a cancellation in a bad moment: then once more.
            await asyncio.wait(tasks, timeout=AGAIN_SECONDS)
