"""Time for the simulated Feldera: stamps, time-ordered identifiers, and the timers that move pipelines along.

State progresses by callbacks of the event loop, never by a task per pipeline: a pipeline at rest costs nothing.
"""

import asyncio
import itertools
import random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime


def stamp() -> str:
    """Now as RFC 3339 in UTC with microseconds, the way Feldera prints times."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class TimeOrderedIds:
    """UUIDs of version 7 that sort in the order they were made, also within one millisecond."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> str:
        # Milliseconds and a fraction of twelve bits in one number, never twice the same.
        ticks = max(time.time_ns() * 4096 // 1_000_000, self._last + 1)
        self._last = ticks
        value = ((ticks >> 12) & (2**48 - 1)) << 80
        value |= 0x7 << 76
        value |= (ticks & 4095) << 64
        value |= 0b10 << 62
        value |= random.getrandbits(62)
        return str(uuid.UUID(int=value))


class Timers:
    """Everything that is going to happen, so that a stopping server can forget it all at once."""

    def __init__(self) -> None:
        self._handles: dict[int, asyncio.TimerHandle] = {}
        self._numbers = itertools.count()
        self._closed = False

    def after(self, seconds: float, action: Callable[[], None]) -> int:
        """Run `action` on the running event loop in `seconds`; the answer cancels it."""
        number = next(self._numbers)
        if self._closed:
            return number

        def fire() -> None:
            self._handles.pop(number, None)
            action()

        self._handles[number] = asyncio.get_running_loop().call_later(max(seconds, 0.0), fire)
        return number

    def cancel(self, number: int | None) -> None:
        """Cancel one timer; a fired or unknown one is left alone."""
        if number is not None and (handle := self._handles.pop(number, None)) is not None:
            handle.cancel()

    def close(self) -> None:
        """Cancel every timer, and start no new one."""
        self._closed = True
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()

    def __len__(self) -> int:
        return len(self._handles)
