"""SIGTERM and SIGINT: the first one asks the operator to stop, the second one ends the process at once."""

import asyncio
import logging
import os
import signal
import threading
from types import FrameType

NUMBERS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


class StopSignals:
    """Turns the first signal into `stop`. Only the main thread can; elsewhere it does nothing."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def claim(self) -> None:
        """Take the signals, also from somebody who has claimed them meanwhile."""
        if threading.current_thread() is not threading.main_thread() or self._stop.is_set():
            return
        loop = asyncio.get_running_loop()
        for number in NUMBERS:
            loop.add_signal_handler(number, self._ask, number)

    def _ask(self, number: signal.Signals) -> None:
        log.info("%s: stopping; a second one ends the process at once", number.name)
        loop = asyncio.get_running_loop()
        for each in NUMBERS:
            loop.remove_signal_handler(each)
            # Not the system's own reaction: as process 1 of a container there is none.
            signal.signal(each, _end)
        self._stop.set()


def _end(number: int, _: FrameType | None) -> None:
    log.warning("%s again: ending at once", signal.Signals(number).name)
    os._exit(128 + number)
