"""A network that lies between the operator and Kubernetes: no decision is lost, none made twice, nothing dies."""

import functools
import json
import os
from pathlib import Path

import pytest

from crash.conftest import REAL, SANDBOX, Open, Outcomes, build_params
from support import names, processes
from support.network import Fault, Network
from support.stage import Stage, wait_until

NAME = "orders"
WRITE = ("patch", "pipelines/status")
TIMES = ("--poll-interval", "0.1", "--approve-timeout", "2", "--settle-time", "4", "--health-port", "0")
RESYNC = ("--resync-interval", "1")
"""What a dead watch does not tell is found by listing."""
ON_REAL = (Fault.REFUSED, Fault.RESET, Fault.CLOSED_IN_BODY, Fault.BLACK_HOLE, Fault.GARBLED, Fault.HTML_200)
"""Through TLS."""


class Case:
    """One fault on one server."""

    def __init__(self, fault: Fault, where: str) -> None:
        self.fault = fault
        self.where = where

    def __str__(self) -> str:
        return f"{self.fault.name.lower()}, {self.where}"


CASES = [
    *(Case(fault, SANDBOX) for fault in Fault if fault not in (Fault.NONE, Fault.GARBLED)),
    *(Case(fault, REAL) for fault in ON_REAL),
]


async def tell(case: Case, open_stage: Open, folder: Path) -> list[str]:
    async with open_stage(case.where) as stage:
        server = getattr(stage.kube, "cluster", stage.kube)
        url = str(getattr(server, "server", server).url)
        async with Network(int(url.rpartition(":")[2]), name=folder / "kubernetes") as network:
            kubeconfig = redirect(stage, url, network.port, by_name=case.fault is Fault.UNKNOWN_NAME)
            environ = {**os.environ, **stage.environ, **processes.ENVIRON, "KUBECONFIG": str(kubeconfig)}
            scope = ("--namespace", stage.kube.namespace) if case.where == REAL else ()
            arguments = (*TIMES, *RESYNC, *scope)
            inside = functools.partial(names.resolve, folder)
            async with processes.running(arguments, environ, folder / "operator.log", inside=inside) as operator:
                reached = [await break_at_rest(stage, network, case.fault)]
                if case.where == SANDBOX:
                    # Through TLS nobody can tell a write from anything else.
                    reached.append(await break_in_a_write(stage, network, case.fault))
                operator.terminate()
                code = await operator.ended()
                wrong = [*operator.complaints(), *([f"exit code {code}"] if code else [])]
        approved = [record.deployment_id for record in stage.feldera.approvals]
        return wrong if approved == reached else [*wrong, f"approved {approved} instead of {reached}"]


def redirect(stage: Stage, url: str, port: int, *, by_name: bool) -> Path:
    """A kubeconfig that leads through the network."""
    host = f"kubernetes{names.SUFFIX}" if by_name else "127.0.0.1"
    config = json.loads(stage.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"{url.partition(':')[0]}://{host}:{port}"
    path = stage.kubeconfig.with_name("kubeconfig-through-the-network")
    path.write_text(json.dumps(config))
    return path


async def break_at_rest(stage: Stage, network: Network, fault: Fault) -> str:
    """A decision is made while the network is broken."""
    stage.feldera.add(NAME)
    deployment_id = stage.feldera.ask(NAME)
    stage.create(NAME)
    await stage.request(NAME)
    await network.set(fault)
    stage.annotate(NAME, approve="true@1")
    return await heal(stage, network, deployment_id)


async def break_in_a_write(stage: Stage, network: Network, fault: Fault) -> str:
    """The network breaks when the intent is on record, and the operator waits for the answer."""
    deployment_id = stage.feldera.ask(NAME)
    await stage.request(NAME)
    held = stage.kube.hold(WRITE, where="after")
    stage.annotate(NAME, approve="true@2")
    await held.reached.wait()
    await network.set(fault)
    stage.kube.faults.holds.remove(held)
    held.release()
    return await heal(stage, network, deployment_id)


async def heal(stage: Stage, network: Network, deployment_id: str) -> str:
    """Once the fault has shown, the network is well again, and the approval comes to its end."""
    if network.fault is not Fault.UNKNOWN_NAME:
        await wait_until(lambda: network.hits, "the fault")
    await network.set(Fault.NONE)
    await comes_through(stage, deployment_id)
    return deployment_id


async def comes_through(stage: Stage, deployment_id: str) -> None:
    def is_done(status: dict[str, dict[str, str]]) -> bool:
        decision = status.get("decision", {})
        return (decision.get("deploymentId"), decision.get("checkpoint")) == (deployment_id, "Durable")

    await stage.reach(NAME, is_done)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("case", build_params(CASES))
async def test_what_was_decided_is_carried_out_once_when_the_network_is_well_again(
    case: Case, outcomes: Outcomes
) -> None:
    assert await outcomes[case] == []
