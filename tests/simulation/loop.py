"""An event loop with virtual time: no sockets, no waiting, and several processes that share nothing but messages.

Each process has a queue of its own, first in, first out, as asyncio promises; which process runs next is drawn from
the seed. A process can be killed between any two callbacks, or stand still for a while, with its timers running out.
Every callback costs a little time, so that messages arrive between any two callbacks too.
"""

import asyncio
import collections
import contextlib
import contextvars
import heapq
import random
from collections.abc import Callable, Iterator
from typing import Any

CALLBACK_SECONDS = 20e-6
MOST_ROUNDS_OF_DYING = 100

_owner: contextvars.ContextVar["Process"] = contextvars.ContextVar("owner")


class Process:
    """What runs, stands still and dies as one."""

    def __init__(self, loop: "SimLoop", name: str) -> None:
        self.name = name
        self.ready: collections.deque[asyncio.Handle] = collections.deque()
        self.tasks: list[asyncio.Task[Any]] = []
        self.frozen = False
        self.dead = False
        self._loop = loop
        self._context = contextvars.Context()
        self._context.run(_owner.set, self)

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        """Run something inside the process."""
        self._loop.call_soon(callback, *args, context=self._context.copy())

    def kill(self) -> None:
        """End it, as SIGKILL does: nothing that it still does can be seen from outside.

        Its coroutines are unwound here, so that none of them is left for the garbage collector. Whoever carries
        messages must refuse those of a dead process.
        """
        self.dead = True
        for _ in range(MOST_ROUNDS_OF_DYING):
            while self.ready:
                handle = self.ready.popleft()
                if not handle.cancelled():
                    handle._run()
            self.tasks = [task for task in self.tasks if not task.done()]
            if not self.tasks:
                return
            for task in self.tasks:
                task.cancel()
        raise AssertionError(f"{self.name}: {len(self.tasks)} tasks refuse to die: {self.tasks[:3]}")


class SimLoop(asyncio.AbstractEventLoop):
    """The part of an event loop that code without sockets needs."""

    def __init__(self, rng: random.Random) -> None:
        self.now = 0.0
        self.steps = 0
        """Callbacks of processes and events of the world that were run."""
        self.failures: list[str] = []
        """Exceptions that nobody handled."""
        self._rng = rng
        self._processes: list[Process] = []
        self._heap: list[tuple[float, int, Process | None, Any, tuple[Any, ...]]] = []
        self._sequence = 0
        self._doomed: list[Callable[[], None]] = []

    def spawn(self, name: str) -> Process:
        """A new process."""
        process = Process(self, name)
        self._processes.append(process)
        return process

    def after(self, seconds: float, callback: Callable[..., None], *args: Any) -> None:
        """An event of the world: outside all processes."""
        self._push(self.now + seconds, None, callback, args)

    def at(self, moment: float, callback: Callable[..., None], *args: Any) -> None:
        """An event of the world at a certain time."""
        self._push(moment, None, callback, args)

    def before_next_step(self, callback: Callable[[], None]) -> None:
        """What must happen outside all processes, as soon as the present callback is over."""
        self._doomed.append(callback)

    def kill(self, process: Process) -> None:
        """Kill a process and forget it."""
        with self._running():
            process.kill()
        self._processes.remove(process)

    def run_until(self, moment: float) -> None:
        """Let the world go on until then."""
        with self._running():
            while self._step(moment):
                pass

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Be the loop that asyncio asks for."""
        before = asyncio.events._get_running_loop()
        asyncio.events._set_running_loop(self)
        try:
            yield
        finally:
            asyncio.events._set_running_loop(before)

    def _step(self, moment: float) -> bool:
        while self._doomed:
            self._doomed.pop(0)()
        heap = self._heap
        while heap and heap[0][0] <= self.now:
            self._pop()
        runnable = [process for process in self._processes if process.ready and not process.frozen]
        if runnable:
            process = runnable[0] if len(runnable) == 1 else self._rng.choice(runnable)
            handle = process.ready.popleft()
            if not handle._cancelled:  # type: ignore[attr-defined]
                self.steps += 1
                handle._run()
                self.now += CALLBACK_SECONDS
            return True
        if not heap or heap[0][0] > moment:
            self.now = max(self.now, moment)
            return False
        self.now = heap[0][0]
        return True

    def _pop(self) -> None:
        _, _, process, callback, args = heapq.heappop(self._heap)
        if process is None:
            self.steps += 1
            callback(*args)
        elif not process.dead and not callback.cancelled():
            process.ready.append(callback)

    def _push(self, when: float, process: Process | None, callback: Any, args: tuple[Any, ...]) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, process, callback, args))

    # What asyncio asks of a loop.

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        if context is None:
            context = contextvars.copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        context[_owner].ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:  # type: ignore[override]
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:  # type: ignore[override]
        if context is None:
            context = contextvars.copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._push(when, context[_owner], handle, ())
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It stays in the heap until its time has come."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Any = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        process = _owner.get() if context is None else context[_owner]
        process.tasks.append(task)
        if len(process.tasks) % 256 == 0:
            process.tasks = [task for task in process.tasks if not task.done()]
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.failures.append(f"{context.get('message')}: {error!r}")
