"""`pipeline-approver sandbox`: both APIs on loopback, and what to type next."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline_approver.sandbox import real
from pipeline_approver.sandbox.crd import read_crd
from pipeline_approver.sandbox.feldera import FelderaServer
from pipeline_approver.sandbox.kube import KubeServer

LAST_PORT = 65535
PROGRAM = "CREATE TABLE orders (id BIGINT PRIMARY KEY, total DECIMAL(10, 2));"


def main(argv: Sequence[str]) -> int:
    """Run until interrupted; the answer is the exit code."""
    parser = argparse.ArgumentParser(
        prog="pipeline-approver sandbox",
        description="An in-memory Kubernetes API and a simulated Feldera on loopback, to try things out.",
    )
    parser.add_argument("--kube-port", type=_port, default=0, help="port of the Kubernetes API (default: any free one)")
    parser.add_argument("--feldera-port", type=_port, default=0, help="port of Feldera (default: any free one)")
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        help="where to write the kubeconfig: a file that does not exist yet, and that is removed at the end"
        " (default: a temporary one)",
    )
    parser.add_argument(
        "--kube-apiserver",
        action="store_true",
        help="a real kube-apiserver instead of the in-memory one; found in KUBEBUILDER_ASSETS or"
        " /usr/local/kubebuilder/bin",
    )
    arguments = parser.parse_args(argv)
    if arguments.kube_apiserver and arguments.kube_port:
        parser.error("--kube-port is of the in-memory API; the real one takes a free port")
    try:
        return asyncio.run(_serve(arguments))
    except FileExistsError:
        message = f"{arguments.kubeconfig} exists and is not overwritten: name another file, or remove it"
    except (OSError, real.ServerMissing) as error:
        message = str(error)
    sys.stderr.write(f"pipeline-approver sandbox: {message}\n")
    return 1


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; one is a number from 0 (any free one) to {LAST_PORT}")
    return int(text)


async def _serve(arguments: argparse.Namespace) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    feldera = FelderaServer(port=arguments.feldera_port, step_seconds=0.5)
    await feldera.start()
    feldera.add("orders", program=PROGRAM)
    with tempfile.TemporaryDirectory(prefix="pipeline-approver-") as folder:
        path = arguments.kubeconfig or Path(folder) / "kubeconfig"
        try:
            kube = real.serve(Path(folder)) if arguments.kube_apiserver else _serve_in_memory(arguments.kube_port)
            async with kube as kubeconfig:
                with _written(path, kubeconfig):
                    _announce(path, feldera)
                    await stop.wait()
        finally:
            await feldera.stop()
    return 0


@contextlib.asynccontextmanager
async def _serve_in_memory(port: int) -> AsyncIterator[dict[str, Any]]:
    kube = KubeServer(port=port)
    await kube.start()
    try:
        kube.put(read_crd())
        yield kube.kubeconfig()
    finally:
        await kube.stop()


@contextlib.contextmanager
def _written(path: Path, kubeconfig: dict[str, Any]) -> Iterator[None]:
    """A kubeconfig that is there until the end of the block; raises FileExistsError."""
    # It holds credentials, and nobody's own kubeconfig is to be lost.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(kubeconfig, file)
        yield
    finally:
        path.unlink(missing_ok=True)


def _announce(path: Path, feldera: FelderaServer) -> None:
    sys.stdout.write(f"""\
Kubernetes: {path}
Feldera:    {feldera.url}   (pipeline orders runs)

In a second terminal, the operator:

  export KUBECONFIG={path} FELDERA_URL={feldera.url}
  pipeline-approver run --poll-interval 1

In a third, you:

  export KUBECONFIG={path}
  kubectl apply -f - <<'EOF'
  apiVersion: pipeline-approver.io/v1alpha1
  kind: Pipeline
  metadata: {{name: orders}}
  EOF
  curl -X POST {feldera.url}/sandbox/pipelines/orders/ask     # the pipeline was changed, and waits
  kubectl get fpl -o wide
  kubectl annotate fpl orders --overwrite pipeline-approver.io/approve=<REQUEST>
  kubectl describe fpl orders

Ctrl-C ends both.
""")
    sys.stdout.flush()
