"""What it takes to make kopf stop: at once, for certain, and without a traceback."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterator
from typing import Any

INSIST_SECONDS = 1.0

log = logging.getLogger(__name__)


class AllTasks(Collection[Any]):
    """Tells kopf that no task is left over from it.

    It would wait five seconds for every task in the loop that it did not find at its start, and then cancel it: also
    the connections of a probe, and whatever somebody else does who runs an operator in their loop.
    """

    def __contains__(self, _: object) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


@contextlib.asynccontextmanager
async def insisting(tasks: Collection[asyncio.Task[Any]]) -> AsyncIterator[None]:
    """Once kopf stops, that is when the first of its root tasks has ended, cancel its watchers until they end.

    kopf cancels each of them once and then waits for it; one that is just cleaning up after a watch that expired
    suppresses that, and would watch on for ever.
    """

    async def insist() -> None:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        while True:
            await asyncio.sleep(INSIST_SECONDS)
            for task in asyncio.all_tasks():
                if task.get_name().startswith("watcher for "):
                    task.cancel()

    insistence = asyncio.create_task(insist())
    try:
        yield
    finally:
        insistence.cancel()
        await asyncio.wait([insistence])


def forgive_generators(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Keep a traceback out of the end of a log.

    A watch of kopf's that is cancelled between two events leaves its generators open. The loop then closes those
    that lie in each other at the same time, and they get in each other's way; nothing is lost by that.
    """
    if "asyncgen" in context:
        log.debug("%s", context["message"])
    else:
        loop.default_exception_handler(context)
