"""What becomes of a message between a process and a server: late, lost, twice, cut in half, answered by a proxy.

A fate is drawn for each call while there is trouble; otherwise messages take a few milliseconds. The server sees a
call at most once or twice, at a time of its own; what the client learns is another matter.
"""

import asyncio
import collections
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulation.loop import Process, SimLoop

LONGEST_UNDER_WAY_SECONDS = 18.0
"""How long after it was sent a call may still reach its server, whether its client has given up or not."""

OVERTAKEN = 0.15
"""The share of decisions that find another deployment than they were meant for: stopped and started meanwhile."""
FELDERA_FAULTS = {
    "refused": 3,
    "slow to connect": 2,
    "no connection": 2,
    "request lost": 3,
    "request late": 3,
    "answer lost": 4,
    "answer late": 4,
    "answer drips": 2,
    "reset before": 2,
    "reset after": 3,
    "cut in half": 2,
    "twice": 3,
    "error before": 6,
    "error after": 4,
    "nonsense": 2,
    "killed when sent": 1,
    "killed when served": 1,
    "killed when answered": 1,
    "frozen when sent": 1,
    "frozen when answered": 1,
}
KUBERNETES_FAULTS = {
    "refused": 2,
    "request lost": 2,
    "request late": 2,
    "answer lost": 3,
    "answer late": 3,
    "reset before": 2,
    "reset after": 2,
    "error before": 6,
    "killed when sent": 1,
    "killed when served": 1,
    "killed when answered": 1,
    "frozen when sent": 1,
    "frozen when served": 1,
}


@dataclass(slots=True)
class Answer:
    """What a server says."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Call:
    """One request of one operator, and what became of it."""

    operator: Any
    process: Process
    method: str
    path: str
    query: dict[str, str]
    body: Any
    token: str
    sent_at: float
    fate: str = ""
    served_at: float | None = None
    answer: Answer | None = None
    """What the server said first, whether anybody heard it or not."""
    seen: Any = None
    """What the server showed or did, for the checks."""
    heard: bool = False
    """The client got the server's own answer, whole."""
    closed_at: float | None = None
    """When the client stopped waiting."""


class Broken(Exception):
    """The client learns nothing but that; the texts are those of `Client.fail`."""


@dataclass(slots=True)
class Timeouts:
    """What a client waits for, in seconds."""

    connect: float
    read: float


class Network:
    """Carries calls to one server."""

    def __init__(
        self,
        *,
        loop: SimLoop,
        rng: random.Random,
        faults: dict[str, int],
        serve: Callable[[Call], Answer],
        spoil: Callable[[Call, random.Random], Answer],
        counts: collections.Counter[str],
        accident: Callable[[str, Call], None],
    ) -> None:
        self.trouble = 0.0
        """The share of calls that something happens to."""
        self.down = False
        """No connection is made at all."""
        self.next_faults: list[str] = []
        """Fates for the next calls that change something, before any is drawn."""
        self._loop = loop
        self._rng = rng
        self._kinds, self._weights = list(faults), list(faults.values())
        self._serve = serve
        self._spoil = spoil
        self._counts = counts
        self._accident = accident

    def carry(self, call: Call, timeouts: Timeouts, future: "asyncio.Future[list[tuple[float, bytes | str]]]") -> None:
        """Bring a call to the server and the answer back, or not. The future gets pieces, each after a pause."""
        fate = call.fate = self._draw(call)
        if not fate:
            self._loop.after(self._rng.uniform(0.001, 0.01), self._arrive, call, future)
            return
        self._counts[fate] += 1
        uniform, after = self._rng.uniform, self._loop.after
        connect = uniform(0.5, 0.95) * timeouts.connect if fate == "slow to connect" else uniform(0.0, 0.01)
        arrival = connect + uniform(0.001, 0.05)
        give_up = connect + timeouts.read
        match fate:
            case "refused":
                after(arrival, _fail, future, "refused")
                return
            case "no connection":
                after(timeouts.connect, _fail, future, "no connection")
                return
            case "request lost":
                after(give_up, _fail, future, "no answer")
                return
            case "reset before":
                after(arrival, _fail, future, "reset")
                return
            case "error before":
                after(arrival, self._answer, call, future, self._spoil(call, self._rng), False)
                return
            case "request late":
                arrival = uniform(0.2, 1.0) * LONGEST_UNDER_WAY_SECONDS
            case "overtaken":
                arrival = uniform(0.2, 1.0) * LONGEST_UNDER_WAY_SECONDS
                self._loop.before_next_step(lambda: self._accident(fate, call))
            case "killed when sent" | "frozen when sent":
                self._loop.before_next_step(lambda: self._accident(fate, call))
            case "twice":
                after(min(arrival + uniform(0.0, 5.0), LONGEST_UNDER_WAY_SECONDS), self._serve_again, call)
        after(arrival, self._arrive, call, future)
        after(give_up, _fail, future, "no answer")

    def _draw(self, call: Call) -> str:
        if self.next_faults and call.method != "GET":
            return self.next_faults.pop(0)
        if self.down:
            return "refused"
        if not self.trouble:
            return ""
        if call.path.endswith(("/approve", "/stop")) and self._rng.random() < OVERTAKEN:
            return "overtaken"
        if self._rng.random() < self.trouble:
            return self._rng.choices(self._kinds, self._weights)[0]
        return ""

    def _arrive(self, call: Call, future: "asyncio.Future[Any]") -> None:
        call.served_at = self._loop.now
        answer = call.answer = self._serve(call)
        fate, delay = call.fate, self._rng.uniform(0.001, 0.01)
        if fate in ("", "request late", "slow to connect", "twice", "overtaken"):
            self._loop.after(delay, self._answer, call, future, answer, True)
            return
        match fate:
            case "answer lost":
                return
            case "answer late":
                delay = self._rng.uniform(0.3, 9.5)
            case "reset after":
                self._loop.after(delay, _fail, future, "reset")
                return
            case "error after" | "nonsense":
                self._loop.after(delay, self._answer, call, future, self._spoil(call, self._rng), False)
                return
            case "killed when served" | "frozen when served":
                self._accident(fate, call)
        self._loop.after(delay, self._answer, call, future, answer, True)

    def _serve_again(self, call: Call) -> None:
        self._serve(call)

    def _answer(self, call: Call, future: "asyncio.Future[Any]", answer: Answer, whole: bool) -> None:
        if future.done():
            return
        if call.fate in ("killed when answered", "frozen when answered"):
            self._accident(call.fate, call)
            if future.done():
                return
        pieces: list[tuple[float, bytes | None]] = [(0.0, answer.body)]
        half = len(answer.body) // 2
        if call.fate == "cut in half":
            pieces = [(0.0, answer.body[:half]), (self._rng.uniform(0.0, 2.0), None)]
        elif call.fate == "answer drips":
            pieces = [(0.0, answer.body[:half]), *((self._rng.uniform(4.0, 9.0), b"") for _ in range(3))]
            pieces.append((self._rng.uniform(0.0, 5.0), answer.body[half:]))
        call.heard = whole and call.fate != "cut in half"
        future.set_result((answer, pieces))


def _fail(future: "asyncio.Future[Any]", why: str) -> None:
    if not future.done():
        future.set_exception(Broken(why))
