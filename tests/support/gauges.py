"""What an operator process uses of its machine, written down from inside it."""

import asyncio
import functools
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

INTERVAL_SECONDS = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Reading:
    """One moment."""

    at: float
    memory: int
    """Bytes that are resident."""
    descriptors: int
    tasks: int


def record(path: Path) -> Callable[[], None]:
    """For `processes.running(inside=…)`: readings go to a file, as long as the process lives."""
    return functools.partial(_begin, path)


def read(path: Path) -> list[Reading]:
    """The readings so far."""
    with path.open() as file:
        return [Reading(*json.loads(line)) for line in file if line.endswith("\n")]


def _begin(path: Path) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    class Policy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            loops.append(super().new_event_loop())
            return loops[-1]

    asyncio.set_event_loop_policy(Policy())
    threading.Thread(target=_observe, args=(path, loops), daemon=True).start()


def _observe(path: Path, loops: list[asyncio.AbstractEventLoop]) -> None:
    with path.open("a", buffering=1) as file:
        while True:
            time.sleep(INTERVAL_SECONDS)
            memory = int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
            descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
            tasks = sum(len(asyncio.all_tasks(loop)) for loop in loops)
            file.write(json.dumps((time.monotonic(), memory, descriptors, tasks)) + "\n")
