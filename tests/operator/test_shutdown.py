"""How an operator begins and ends: nothing is left half done, and whoever waits for it gets an answer."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio import client

from pipeline_approver import health, life
from pipeline_approver.app import run_operator
from pipeline_approver.kube.api import KubeApi
from pipeline_approver.life import StartupFailed
from pipeline_approver.sandbox.feldera import pipeline_diff
from pipeline_approver.settings import Settings
from support import processes
from support.scrape import free_port, get
from support.slowness import stretch_the_end_of_a_watch
from support.stage import PATIENCE_SECONDS, SETTINGS, OperatorProcess, Stage, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
DIFF = pipeline_diff(added_views=["daily"])
HOME = {"POD_NAME": "a", "POD_NAMESPACE": "default"}
PATIENT = ("--lease-duration", "3600", "--lease-renew-deadline", "1800")


class Running:
    """An operator as a process, and its health port."""

    def __init__(self, process: OperatorProcess, port: int) -> None:
        self.process = process
        self.port = port

    async def answers(self, path: str, status: int, text: str = "") -> None:
        """Wait until a path is answered so."""
        async with asyncio.timeout(60):
            while True:
                assert self.process.process.returncode is None, await self.process.end()
                with contextlib.suppress(OSError):
                    found, body, _ = await get(self.port, path)
                    if found == status and text in body:
                        return
                await asyncio.sleep(0.05)

    def signal(self, number: int) -> None:
        self.process.process.send_signal(number)

    async def end(self) -> tuple[int, str]:
        """Wait for its own end: the exit code and what it wrote."""
        await self.process.process.wait()
        return await self.process.end()


@pytest.fixture
async def started(stage: Stage) -> AsyncIterator[Any]:
    """A function that starts an operator."""
    processes = []

    async def start(*flags: str, environ: dict[str, str] | None = None) -> Running:
        port = free_port()
        process = await stage.process("--health-port", str(port), *flags, environ=environ or HOME)
        processes.append(process)
        return Running(process, port)

    yield start
    for process in processes:
        await process.end(signal.SIGKILL)


def holder(stage: Stage) -> str:
    lease = stage.kube.get("leases", "default", "pipeline-approver")
    return str(lease["spec"]["holderIdentity"]).partition("_")[0] if lease else ""


async def decided(stage: Stage, name: str = "orders") -> None:
    """A Pipeline whose request somebody approves."""
    stage.feldera.add(name, state="AwaitingApproval", diff=DIFF)
    stage.create(name, annotations={"approve": "true"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_operator_at_rest_stops_at_a_signal_and_gives_its_lease_back(
    stage: Stage, started: Any, number: signal.Signals
) -> None:
    running = await started(*PATIENT)
    await running.answers("readyz", 200)
    await wait_until(lambda: holder(stage) == "a")
    running.signal(number)
    code, output = await running.end()
    assert (code, holder(stage)) == (0, "")
    assert f"{number.name}: stopping" in output
    assert "pipeline-approver has stopped" in output
    assert "Traceback" not in output
    told = [event["message"] for event in stage.kube.list("events") if event["reason"] == "LeaderElection"]
    assert len(told) == 2


async def test_a_call_in_hand_is_finished_and_recorded_and_nothing_else_is_begun(stage: Stage, started: Any) -> None:
    await decided(stage)
    hold = stage.feldera.hold(("POST", "approve"))
    running = await started(*PATIENT)
    await hold.reached.wait()
    running.signal(signal.SIGTERM)
    await running.answers("readyz", 503, "stopping")
    await running.answers("healthz", 200)
    await decided(stage, "shipments")
    assert holder(stage) == "a", "it still acts"
    hold.release()
    code, output = await running.end()
    assert code == 0, output
    assert stage.status("orders")["decision"]["outcome"] == "Sent"
    assert [approval.name for approval in stage.feldera.approvals] == ["orders"]
    assert [event["reason"] for event in stage.events("orders")].count("Bootstrapping") == 1
    assert "decision" not in stage.status("shipments")
    assert holder(stage) == ""


async def test_a_call_that_is_not_answered_is_given_up_and_settled_by_the_next_operator(
    stage: Stage, started: Any
) -> None:
    await decided(stage)
    stage.feldera.faults.add(("POST", "approve"), kind="applied_then_hang")
    running = await started(*PATIENT, "--approve-timeout", "1", "--settle-time", "3")
    await wait_until(lambda: stage.feldera.approvals)
    running.signal(signal.SIGTERM)
    code, output = await running.end()
    assert code == 0, output
    assert stage.status("orders")["decision"]["outcome"] == "Sending"
    assert holder(stage) == ""
    async with stage.operator():
        await stage.outcome("orders", "Bootstrapped")
    assert len(stage.feldera.approvals) == 1


def test_a_stop_is_over_before_the_kubelet_loses_patience() -> None:
    (deployment,) = yaml.safe_load_all((DEPLOY / "base" / "040-deployment.yaml").read_text())
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > life.FINISH_SECONDS + life.RELEASE_SECONDS + life.EVENTS_SECONDS + health.CLOSING_SECONDS


async def test_a_second_signal_ends_at_once_and_loses_nothing(stage: Stage, started: Any) -> None:
    await decided(stage)
    hold = stage.feldera.hold(("POST", "approve"))
    running = await started(*PATIENT, "--approve-timeout", "8", "--settle-time", "9")
    await hold.reached.wait()
    running.signal(signal.SIGTERM)
    await running.answers("readyz", 503, "stopping")
    running.signal(signal.SIGTERM)
    code, output = await running.end()
    assert code == 128 + signal.SIGTERM
    assert "SIGTERM again: ending at once" in output
    assert stage.status("orders")["decision"]["outcome"] == "Sending"
    hold.release(cut=True)
    await wait_until(lambda: any(record.path.endswith("/approve") for record in stage.feldera.requests))
    stage.feldera.faults.clear()
    async with stage.operator(settle_seconds=3.0):
        await stage.outcome("orders", "Bootstrapped")
    assert len(stage.feldera.approvals) == 1


async def test_an_operator_that_waits_for_the_api_server_is_alive_not_ready_and_stops_when_asked(
    stage: Stage, started: Any
) -> None:
    stage.kube.faults.add(("list", "pipelines"), kind="status", status=503, times=None)
    running = await started()
    await running.answers("healthz", 200)
    await running.answers("readyz", 503, "not all Pipelines are known yet")
    await wait_until(lambda: stage.kube.counts["list", "pipelines"])
    running.signal(signal.SIGTERM)
    code, output = await running.end()
    assert code == 0, output
    assert "Traceback" not in output


async def test_a_replica_is_ready_when_it_knows_all_pipelines(stage: Stage, started: Any) -> None:
    stage.create("orders")
    # The list of what exists is there before the watch has shown any of it.
    hold = stage.kube.hold(("list", "pipelines"))
    running = await started(environ={})
    await hold.reached.wait()
    await running.answers("readyz", 503, "not all Pipelines are known yet")
    hold.release()
    await running.answers("readyz", 200)


async def test_a_port_in_use_is_named_with_what_to_do(stage: Stage) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await stage.process("--health-port", str(port))
        await process.process.wait()
        code, output = await process.end()
    assert code == 1
    assert f"port {port}: it is in use; choose another one with --health-port" in output
    assert "Traceback" not in output


async def test_a_task_that_dies_ends_the_operator_and_is_named(stage: Stage) -> None:
    """An operator that goes on without one of its parts would look well and do nothing."""

    class Broken(KubeApi):
        async def create_event(self, *_: Any) -> dict[str, Any]:
            raise RuntimeError("a defect")

    configuration = client.Configuration()
    configuration.host = stage.kube.url
    kube = Broken(configuration)
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    stage.create("orders")
    stage.select()
    with pytest.raises(StartupFailed, match="the task 'events' died"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await run_operator(Settings(**SETTINGS), stage.environ, kube=kube, stop_flag=asyncio.Event())


async def test_a_stop_at_the_very_moment_when_a_watch_has_expired_is_heard(stage: Stage, tmp_path: Path) -> None:
    """kopf suppresses a cancellation then, and cancels only once."""
    environ = {**os.environ, **stage.environ, **processes.ENVIRON}
    flags = ("--poll-interval", "1", "--health-port", "0")
    log = tmp_path / "log"
    async with processes.running(flags, environ, log, inside=stretch_the_end_of_a_watch) as operator:
        await wait_until(lambda: stage.kube.counts["watch", "pipelines"])
        await decided(stage)
        await operator.says("Approved")
        stage.kube.expire_watches()
        await operator.says("cleaning up")
        operator.terminate()
        assert (await operator.ended(), operator.complaints()) == (0, [])


async def test_a_stop_in_the_middle_of_many_events_ends_in_peace(stage: Stage, tmp_path: Path) -> None:
    """Whether the watch is cancelled between two events or while it waits for one is a matter of luck: so six times."""
    names = [f"p{number}" for number in range(40)]
    for name in names:
        stage.create(name)

    async def annotate_all_the_time() -> None:
        for number in itertools.count():
            for name in names:
                stage.annotate(name, reason=str(number))
            await asyncio.sleep(0.02)

    async def stop(number: int) -> tuple[int, list[str]]:
        environ = {**os.environ, **stage.environ, **processes.ENVIRON}
        flags = ("--poll-interval", "1", "--health-port", "0")
        async with processes.running(flags, environ, tmp_path / f"{number}.log") as operator:
            await operator.says("all Pipelines are known")
            operator.terminate()
            return await operator.ended(), operator.complaints()

    storm = asyncio.create_task(annotate_all_the_time())
    try:
        for round_ in range(2):
            assert await asyncio.gather(*(stop(3 * round_ + number) for number in range(3))) == [(0, [])] * 3
    finally:
        storm.cancel()
