"""Keeps background writes to the Kubernetes API at a rate that it does not notice."""

import asyncio


class Pacer:
    """A token bucket: `rate` per second on average, `burst` at once."""

    def __init__(self, *, rate: float, burst: int) -> None:
        self._interval = 1 / rate
        self._slack = burst * self._interval
        self._free_at = 0.0

    async def wait(self) -> None:
        """Return when the next write may be made."""
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now - self._slack) + self._interval
        delay = self._free_at - now
        if delay > 0:
            await asyncio.sleep(delay)
