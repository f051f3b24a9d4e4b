"""Moments that are too short to be met by chance, made long, in an operator's process."""

import asyncio
from typing import Any

from kopf._cogs.aiokits import aiotoggles


def stretch_the_end_of_a_watch() -> None:
    """Have kopf say when it cleans up after a watch, and be at it until it is cancelled."""
    wait_for = aiotoggles.ToggleSet.wait_for

    async def wait_longer(self: Any, state: bool) -> None:
        try:
            await wait_for(self, state)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.get_name().startswith("pause-waiter "):
                raise
            print("cleaning up", flush=True)
            await asyncio.Event().wait()

    aiotoggles.ToggleSet.wait_for = wait_longer  # type: ignore[method-assign]
