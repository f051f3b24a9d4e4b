"""`pipeline-approver sandbox`: both APIs on loopback, and what to type next."""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline_approver.sandbox import real
from pipeline_approver.sandbox.crd import read_crd
from pipeline_approver.sandbox.feldera import FelderaServer
from pipeline_approver.sandbox.kube import KubeServer

PROGRAM = "CREATE TABLE orders (id BIGINT PRIMARY KEY, total DECIMAL(10, 2));"


def main(argv: Sequence[str]) -> int:
    """Run until interrupted; the answer is the exit code."""
    parser = argparse.ArgumentParser(
        prog="pipeline-approver sandbox",
        description="An in-memory Kubernetes API and a simulated Feldera on loopback, to try things out.",
    )
    parser.add_argument("--kube-port", type=int, default=0, help="port of the Kubernetes API (default: any free one)")
    parser.add_argument("--feldera-port", type=int, default=0, help="port of Feldera (default: any free one)")
    parser.add_argument("--kubeconfig", type=Path, help="where to write the kubeconfig (default: a temporary file)")
    parser.add_argument(
        "--kube-apiserver",
        action="store_true",
        help="a real kube-apiserver instead of the in-memory one; found in KUBEBUILDER_ASSETS or"
        " /usr/local/kubebuilder/bin",
    )
    arguments = parser.parse_args(argv)
    try:
        return asyncio.run(_serve(arguments))
    except (OSError, real.ServerMissing) as error:
        sys.stderr.write(f"pipeline-approver sandbox: {error}\n")
        return 1


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
            if arguments.kube_apiserver:
                async with real.serve(Path(folder)) as kubeconfig:
                    _announce(path, kubeconfig, feldera)
                    await stop.wait()
            else:
                kube = KubeServer(port=arguments.kube_port)
                await kube.start()
                kube.put(read_crd())
                _announce(path, kube.kubeconfig(), feldera)
                await stop.wait()
                await kube.stop()
        finally:
            await feldera.stop()
    return 0


def _announce(path: Path, kubeconfig: dict[str, object], feldera: FelderaServer) -> None:
    # A kubeconfig holds credentials.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(kubeconfig, file)
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
