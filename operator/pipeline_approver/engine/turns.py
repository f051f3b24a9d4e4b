"""Whose turn it is on a connection: so many passes at once, people first, and the others wait outside of the workers.

Without this, passes that wait for one Feldera that does not answer would hold all workers, and with them the
Pipelines of every other connection.
"""

import collections
from dataclasses import dataclass, field

from pipeline_approver.engine.cache import ConnectionKey
from pipeline_approver.engine.queue import Lane, WorkQueue

AT_ONCE = 8


@dataclass(slots=True)
class _Line:
    busy: int = 0
    waiting: dict[Lane, collections.OrderedDict[str, None]] = field(
        default_factory=lambda: {lane: collections.OrderedDict() for lane in Lane}
    )

    def pop(self) -> tuple[str, Lane] | None:
        """The first who waits; people before the rest."""
        for lane in (Lane.URGENT, Lane.BACKGROUND):
            if self.waiting[lane]:
                return self.waiting[lane].popitem(last=False)[0], lane
        return None


class Turns:
    """Turns on all connections."""

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self._lines: dict[ConnectionKey, _Line] = {}

    def take(self, connection: ConnectionKey, key: str, lane: Lane) -> bool:
        """Whether it is this key's turn, which then is to be given back; else the key comes again by itself."""
        line = self._lines.setdefault(connection, _Line())
        if line.busy >= AT_ONCE or (lane is Lane.BACKGROUND and line.waiting[Lane.URGENT]):
            line.waiting[lane][key] = None
            return False
        line.busy += 1
        return True

    def give_back(self, connection: ConnectionKey) -> None:
        """End a turn, and have the next one come."""
        line = self._lines[connection]
        line.busy -= 1
        # The next one may not come to it: its Pipeline may have gone, or have another connection by now. So when nobody
        # is left who would call the others, all are called.
        while (following := line.pop()) is not None:
            key, lane = following
            self._queue.add(key, lane=lane)
            if line.busy:
                return
        if not line.busy:
            del self._lines[connection]
