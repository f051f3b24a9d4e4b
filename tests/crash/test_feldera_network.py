"""A network that lies between the operator and Feldera: nothing is approved twice or wrongly, and nobody else waits.

One operator with many connections, each through a network of its own with a fault of its own, and one that is healthy.
"""

import asyncio
import contextlib
import functools
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from crash.conftest import SANDBOX, Open, Outcomes
from pipeline_approver.sandbox.feldera import FelderaServer
from support import names, processes
from support.network import Fault, Network
from support.stage import Stage, wait_until

TIMES = ("--poll-interval", "0.2", "--approve-timeout", "2", "--settle-time", "4", "--health-port", "0")
SLOW = (Fault.STALLED, Fault.BLACK_HOLE)
"""Only their time-out tells; it is longer than this test wants to wait for a third one in a row."""
IN_TLS = (Fault.RESET, Fault.CLOSED_IN_BODY, Fault.BLACK_HOLE, Fault.GARBLED, Fault.HTML_200)


@dataclass(frozen=True, slots=True)
class Case:
    """One connection."""

    fault: Fault
    tls: bool

    @property
    def name(self) -> str:
        """Of its pipeline and its Secret."""
        return f"{self.fault.name.lower().replace('_', '-')}-{'tls' if self.tls else 'plain'}"


CASES = [
    *(Case(fault, tls=False) for fault in Fault if fault not in (Fault.NONE, Fault.GARBLED)),
    *(Case(fault, tls=True) for fault in IN_TLS),
]


@dataclass(frozen=True, slots=True)
class Story:
    """All of them together: one operator."""

    where: str = SANDBOX


@dataclass(slots=True)
class Line:
    """One connection while it is told about."""

    case: Case
    stage: Stage
    feldera: FelderaServer
    network: Network

    @property
    def name(self) -> str:
        return self.case.name

    async def ask(self) -> str:
        """The pipeline asks; the deployment id."""
        deployment_id = self.feldera.ask(self.name)
        await self.stage.reach(self.name, lambda it: it.get("pipeline", {}).get("deploymentId") == deployment_id)
        await self.stage.request(self.name)
        return deployment_id

    async def is_hit(self) -> None:
        """Wait until the fault has shown, to the operator where it can in short time."""
        if self.case.fault is not Fault.UNKNOWN_NAME:
            await wait_until(lambda: self.network.hits, f"{self.name}: the fault")

    async def is_reported(self) -> None:
        """Wait until the Pipeline says that it has no connection."""
        if self.case.fault not in SLOW:
            await self.stage.reach(self.name, lambda status: status.get("state") == "Unreachable")

    async def comes_through(self, deployment_id: str) -> None:
        """The approval comes to its end."""

        def is_done(status: dict[str, dict[str, str]]) -> bool:
            decision = status.get("decision", {})
            return (decision.get("deploymentId"), decision.get("checkpoint")) == (deployment_id, "Durable")

        await self.stage.reach(self.name, is_done)


async def break_and_heal(line: Line, is_broken: asyncio.Event, near_is_served: asyncio.Event) -> list[str]:
    """Approve twice: while all connections are broken, and with a connection that breaks in the call."""
    wrong = []
    first = await line.ask()
    await line.network.set(line.case.fault)
    try:
        line.stage.annotate(line.name, approve="true@1")
        await line.is_hit()
        await line.is_reported()
        message = line.stage.condition(line.name, "Connected").get("message", "")
        if "Traceback" in message or "Error(" in message:
            wrong.append(f"says {message!r}")
    finally:
        is_broken.set()
    await near_is_served.wait()
    await line.network.set(Fault.NONE)
    await line.comes_through(first)

    second = await line.ask()
    held = line.feldera.hold(("POST", "approve"), where="after", pipeline=line.name)
    line.stage.annotate(line.name, approve="true@2")
    await held.reached.wait()
    await line.network.set(line.case.fault)
    line.feldera.faults.holds.remove(held)
    held.release()
    await line.is_hit()
    await line.network.set(Fault.NONE)
    await line.comes_through(second)

    reached = [record.deployment_id for record in line.feldera.approvals if record.name == line.name]
    if reached != [first, second]:
        wrong.append(f"approved {reached} instead of {[first, second]}")
    return wrong


async def tell(case: Story, open_stage: Open, folder: Path) -> list[str]:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with_tls = FelderaServer(lag_seconds=0.01, step_seconds=0.02, ssl_context=context)
    async with open_stage(case.where) as stage, contextlib.AsyncExitStack() as stack:
        await with_tls.start()
        stack.push_async_callback(with_tls.stop)
        lines = []
        for each in CASES:
            feldera = with_tls if each.tls else stage.feldera
            network = Network(int(feldera.url.rpartition(":")[2]), name=folder / each.name)
            await stack.enter_async_context(network)
            feldera.add(each.name)
            host = f"{each.name}{names.SUFFIX}" if each.fault is Fault.UNKNOWN_NAME else "127.0.0.1"
            url = f"{'https' if each.tls else 'http'}://{host}:{network.port}"
            data = {"url": url, **({"ca.crt": authority.cert_pem.bytes().decode()} if each.tls else {})}
            stage.kube.put(build_secret(each.name, data))
            stage.create(each.name, connectionSecretRef={"name": each.name})
            lines.append(Line(each, stage, feldera, network))
        stage.feldera.add("near")
        stage.create("near")
        environ = {**os.environ, **stage.environ, **processes.ENVIRON}
        inside = functools.partial(names.resolve, folder)
        async with processes.running(TIMES, environ, folder / "operator.log", inside=inside) as operator:
            broken, near_is_served = [asyncio.Event() for _ in lines], asyncio.Event()
            told = await asyncio.gather(
                serve_the_healthy_one(stage, broken, near_is_served),
                *(
                    break_and_heal(line, is_broken, near_is_served)
                    for line, is_broken in zip(lines, broken, strict=True)
                ),
                return_exceptions=True,
            )
            operator.terminate()
            code = await operator.ended()
    wrong = [*operator.complaints(), *([f"exit code {code}"] if code else [])]
    for name, answer in zip(["near", *(line.name for line in lines)], told, strict=True):
        wrong += [f"{name}: {what}" for what in (answer if isinstance(answer, list) else [answer])]
    return wrong


def build_secret(name: str, data: dict[str, str]) -> dict[str, object]:
    metadata = {"name": name, "namespace": "default"}
    type_ = "pipeline-approver.io/connection"
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type_, "stringData": data}


async def serve_the_healthy_one(stage: Stage, broken: list[asyncio.Event], is_served: asyncio.Event) -> list[str]:
    """It is approved while all others are broken."""
    try:
        await asyncio.gather(*(event.wait() for event in broken))
        deployment_id = stage.feldera.ask("near")
        request = await stage.request("near")
        stage.annotate("near", approve=request["id"])
        await stage.outcome("near", "Bootstrapped")
    finally:
        is_served.set()
    reached = [record.deployment_id for record in stage.feldera.approvals if record.name == "near"]
    return [] if reached == [deployment_id] else [f"approved {reached} instead of {[deployment_id]}"]


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("case", [Story()], ids=["all at once"])
async def test_a_network_that_lies_leads_to_no_wrong_approval_and_holds_up_nobody_else(
    case: Story, outcomes: Outcomes
) -> None:
    assert await outcomes[case] == []
