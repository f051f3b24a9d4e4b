"""The work queue: every key once, never two workers on one key, people first.

Two lanes: `urgent` for what a person caused, the other for background work, which is paced. A key waits in one lane
only and moves up when somebody changes it. Delays and back-off are per key, as in client-go's work queue.
"""

import asyncio
import collections
import enum

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 60.0


class Lane(enum.Enum):
    """Who is served by which workers."""

    URGENT = enum.auto()
    BACKGROUND = enum.auto()


class WorkQueue:
    """Keys that want to be looked at."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, collections.OrderedDict[str, None]] = {lane: collections.OrderedDict() for lane in Lane}
        # Each key that is added wakes one worker, and not all who wait. It may find that the key has gone meanwhile.
        self._added = {lane: asyncio.Semaphore(0) for lane in Lane}
        self._busy: set[str] = set()
        self._again: dict[str, Lane] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values())) + len(self._busy)

    def add(self, key: str, *, lane: Lane = Lane.BACKGROUND) -> None:
        """Have a key looked at soon. While it is being worked on, it is remembered and comes again afterwards."""
        if key in self._busy:
            if self._again.get(key) is not Lane.URGENT:
                self._again[key] = lane
            return
        if key in self._lanes[Lane.URGENT]:
            return
        if lane is Lane.URGENT:
            self._lanes[Lane.BACKGROUND].pop(key, None)
        if key not in self._lanes[lane]:
            self._lanes[lane][key] = None
            self._added[lane].release()

    def add_later(self, key: str, *, seconds: float) -> None:
        """Have a key looked at after a delay; of several delays the shortest counts."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(0.0, seconds)
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._ring, key)

    def _ring(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def retry(self, key: str) -> None:
        """Have a key looked at again after its back-off, which doubles with every call until `succeed`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self.add_later(key, seconds=min(FIRST_BACKOFF_SECONDS * 2 ** min(failures, 16), LONGEST_BACKOFF_SECONDS))

    def succeed(self, key: str) -> None:
        """End the back-off of a key."""
        self._failures.pop(key, None)

    def forget(self, key: str) -> None:
        """Drop what is planned for a key."""
        self._failures.pop(key, None)
        self._again.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        for keys in self._lanes.values():
            keys.pop(key, None)

    async def get(self, lane: Lane) -> str:
        """The next key of a lane; the caller works on it alone until it calls `done`."""
        # Passes that find nothing to do never wait for anything: without this, many in a row would hold up the rest.
        await asyncio.sleep(0)
        await self._added[lane].acquire()
        while not self._lanes[lane]:
            await self._added[lane].acquire()
        key, _ = self._lanes[lane].popitem(last=False)
        self._busy.add(key)
        return key

    def done(self, key: str) -> None:
        """The caller's work on a key has ended."""
        self._busy.discard(key)
        lane = self._again.pop(key, None)
        if lane is not None:
            self.add(key, lane=lane)
