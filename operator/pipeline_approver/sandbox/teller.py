"""How the demo speaks in a terminal."""

import os
import sys


class Teller:
    """Prints the story; in colour only on a terminal."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._step = 0

    def title(self, text: str) -> None:
        """A new step."""
        self._step += 1
        self._print(f"\n{self._step}. {text}", "1;36")

    def say(self, text: str) -> None:
        """A sentence."""
        self._print(f"   {text}")

    def command(self, text: str) -> None:
        """What is typed."""
        self._print(f"   $ {text}", "1")

    def output(self, text: str) -> None:
        """What it prints."""
        for line in text.splitlines():
            self._print(f"     {line}")

    def operator(self, line: str) -> None:
        """A line of the operator's log."""
        self._print(f"     operator │ {line}", "2")

    def good(self, text: str) -> None:
        """Something was seen to be so."""
        self._print(f"   ✓ {text}", "32")

    def bad(self, text: str) -> None:
        """Something was not."""
        self._print(f"   ✗ {text}", "31")

    def _print(self, text: str, code: str = "") -> None:
        sys.stdout.write(f"\033[{code}m{text}\033[0m\n" if code and self._colour else f"{text}\n")
        sys.stdout.flush()
