"""Operators as real processes that start fast: forked from a process that has imported everything already.

Whoever is killed, frozen or asked to stop here is an operating system process with its own event loop and sockets; only
the import of the packages is shared. The command line is the product's own.
"""

import asyncio
import contextlib
import functools
import gc
import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENVIRON = {"SSL_CERT_FILE": os.devnull}
"""Loading the system's certificates is most of what a start costs, and loopback needs none of them."""
GRACE_SECONDS = 30.0
"""The pod's terminationGracePeriodSeconds."""
_COMPLAINT = re.compile(r"^\S+ (ERROR|CRITICAL)|^Traceback|Warning: ", re.MULTILINE)


@dataclass(slots=True)
class Operator:
    """One operator process."""

    process: Any
    log: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self.process.pid)

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL: not another instruction is carried out."""
        self.process.kill()
        self.process.join()

    def freeze(self) -> None:
        """SIGSTOP, and it does not know."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.terminate()

    async def ended(self) -> int:
        """The exit code, within the grace period."""
        deadline = asyncio.get_running_loop().time() + GRACE_SECONDS
        while (code := self.process.exitcode) is None:
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"the operator has not ended:\n{self.output}")
            await asyncio.sleep(0.01)
        return int(code)

    async def says(self, text: str, *, times: int = 1) -> None:
        """Wait until the log contains a text."""
        deadline = asyncio.get_running_loop().time() + GRACE_SECONDS
        while self.output.count(text) < times:
            if self.process.exitcode is not None or asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"the operator does not say {text!r}:\n{self.output}")
            await asyncio.sleep(0.01)

    def complaints(self) -> list[str]:
        """Lines of the log that a healthy operator never writes, whatever the world does."""
        return [line for line in self.output.splitlines() if _COMPLAINT.search(line)]


@contextlib.asynccontextmanager
async def running(
    arguments: Sequence[str], environ: dict[str, str], log: Path, *, inside: Callable[[], None] | None = None
) -> AsyncIterator[Operator]:
    """An operator with these arguments after `run`; whatever is left of it is killed in the end.

    `inside` is called in the new process before the operator starts.
    """
    # Not in a thread: with every start, multiprocessing also asks for the exit codes of all others, and each of those
    # can be read only once.
    operator = _start(arguments, environ, log, inside)
    try:
        yield operator
    finally:
        operator.kill()


def _start(arguments: Sequence[str], environ: dict[str, str], log: Path, inside: Callable[[], None] | None) -> Operator:
    log.touch()
    process = _prepare().Process(target=_run, args=(("run", *arguments), environ, log, inside), daemon=True)
    process.start()
    return Operator(process, log)


def _run(arguments: Sequence[str], environ: dict[str, str], log: Path, inside: Callable[[], None] | None) -> None:
    """Be an operator."""
    from kubernetes.aio.config import kube_config as async_config
    from kubernetes.config import kube_config as sync_config

    from pipeline_approver import cli

    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(descriptor, number)
    os.environ.clear()
    os.environ.update(environ)
    # The official client reads the variable once, when it is imported.
    sync_config.KUBE_CONFIG_DEFAULT_LOCATION = async_config.KUBE_CONFIG_DEFAULT_LOCATION = environ["KUBECONFIG"]
    # What all operators share need not be looked through by each one's collector.
    gc.freeze()
    if inside is not None:
        inside()
    sys.exit(cli.main(arguments))


@functools.cache
def _prepare() -> multiprocessing.context.ForkServerContext:
    """Have the process started that operators are forked from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline_approver.app", "httpcore", "anyio._backends._asyncio"])
    multiprocessing.forkserver.ensure_running()
    return context
