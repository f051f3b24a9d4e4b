"""Several replicas: one acts, all know everything, and whatever happens to them a decision is carried out once."""

import argparse
import asyncio
import collections
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline_approver.settings import Settings, SettingsInvalid, add_arguments, read_settings
from support.scrape import Scrape, free_port, get, scrape, scrape_until
from support.stage import PATIENT, OperatorProcess, Stage, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
HOME = "pipeline-approver-system"
LEASE = {"leader_elect": True, "lease_namespace": "default", "lease_retry_period_seconds": 0.05}
# So long that nobody takes it before it is given back.
FOR_EVER = {**LEASE, "lease_duration_seconds": 3600.0, "lease_renew_deadline_seconds": 1800.0}
SHORT = ("--lease-duration", "2", "--lease-renew-deadline", "1.5", "--lease-retry-period", "0.3")


@contextlib.asynccontextmanager
async def replica(stage: Stage, **settings: Any) -> AsyncIterator[int]:
    """A replica in this process; yields the port of its metrics."""
    port = free_port()
    async with stage.operator(health_port=port, **settings):
        yield port


async def lead(port: int) -> None:
    """Wait until a replica acts."""
    await scrape_until(port, lambda found: found("leader"))


def add(stage: Stage, *names: str) -> None:
    for name in names:
        stage.feldera.add(name, program="CREATE TABLE t (id INT);")
        stage.create(name)


async def approve(stage: Stage, name: str) -> None:
    stage.feldera.ask(name)
    request = await stage.request(name)
    stage.annotate(name, approve=request["id"])
    await stage.outcome(name, "Bootstrapped")


def approvals(stage: Stage) -> dict[str, int]:
    """How often Feldera was told to approve each pipeline."""
    return dict(collections.Counter(record.name for record in stage.feldera.approvals))


def holder(stage: Stage) -> str:
    """The name of the pod that holds the Lease; empty when nobody does."""
    lease = stage.kube.get("leases", "default", "pipeline-approver")
    return str(lease["spec"]["holderIdentity"]).partition("_")[0] if lease else ""


class Replicas:
    """Two replicas as processes, each under its own user."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.folder = folder
        self.ports: dict[str, int] = {}
        self.processes: dict[str, OperatorProcess] = {}

    async def start(self, name: str, *flags: str) -> None:
        kubeconfig = self.folder / f"kubeconfig-{name}"
        kubeconfig.write_text(json.dumps(self.stage.kube.kubeconfig(name)))
        port = self.ports[name] = free_port()
        environ = {"KUBECONFIG": str(kubeconfig), "POD_NAME": name, "POD_NAMESPACE": "default"}
        self.processes[name] = await self.stage.process("--health-port", str(port), *flags, environ=environ)
        while not await self.is_ready(name):
            assert self.processes[name].process.returncode is None, await self.processes[name].end()
            await asyncio.sleep(0.05)

    async def is_ready(self, name: str) -> bool:
        with contextlib.suppress(OSError):
            return (await get(self.ports[name], "readyz"))[0] == 200
        return False

    async def scrape(self, name: str) -> Scrape:
        return await scrape(self.ports[name])

    def kill(self, name: str, number: int) -> None:
        self.processes[name].process.send_signal(number)

    def writers(self) -> set[str]:
        """Who wrote a status."""
        return {record.user for record in self.stage.kube.requests if record.resource == "pipelines/status"}


@pytest.fixture
async def replicas(stage: Stage, tmp_path: Path) -> AsyncIterator[Replicas]:
    two = Replicas(stage, tmp_path)
    yield two
    for process in two.processes.values():
        if process.process.returncode is None:
            process.process.send_signal(signal.SIGCONT)
        await process.end(signal.SIGKILL)


def read(*arguments: str, **environ: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return read_settings(parser.parse_args(arguments), environ)


@pytest.mark.parametrize(
    ("arguments", "environ", "elects", "namespace"),
    [
        # From a laptop: nobody has to have permissions for a Lease there.
        ((), {}, False, ""),
        # In the pod of the shipped Deployment.
        ((), {"POD_NAMESPACE": "ops"}, True, "ops"),
        (("--leader-elect=false",), {"POD_NAMESPACE": "ops"}, False, "ops"),
        ((), {"POD_NAMESPACE": "ops", "PIPELINE_APPROVER_LEADER_ELECT": "false"}, False, "ops"),
        (("--leader-elect", "--lease-namespace", "team"), {}, True, "team"),
        (("--leader-elect", "true", "--lease-namespace", "team"), {"POD_NAMESPACE": "ops"}, True, "team"),
    ],
)
def test_replicas_elect_where_one_expects_it(
    arguments: tuple[str, ...], environ: dict[str, str], elects: bool, namespace: str
) -> None:
    settings = read(*arguments, **environ)
    assert (settings.leader_elect, settings.lease_namespace) == (elects, namespace)
    usual = (
        settings.lease_duration_seconds,
        settings.lease_renew_deadline_seconds,
        settings.lease_retry_period_seconds,
    )
    assert usual == (15, 10, 2)


@pytest.mark.parametrize(
    ("arguments", "environ", "told"),
    [
        (("--leader-elect",), {}, "--leader-elect needs --lease-namespace"),
        (("--leader-elect", "maybe"), {}, "--leader-elect: 'maybe' is none of true, false"),
        (("--lease-duration", "10"), {}, "--lease-duration (10) must be longer than --lease-renew-deadline (10)"),
        (("--lease-retry-period", "5"), {}, "at least 2 times as long as --lease-retry-period (5)"),
        ((), {"POD_NAMESPACE": "Not_One"}, "POD_NAMESPACE: 'Not_One' is not the name of a namespace"),
    ],
)
def test_an_election_that_cannot_work_is_refused(
    arguments: tuple[str, ...], environ: dict[str, str], told: str
) -> None:
    with pytest.raises(SettingsInvalid) as refusal:
        read(*arguments, **environ)
    assert told in str(refusal.value)


async def test_of_two_replicas_one_acts_and_both_know_everything(stage: Stage) -> None:
    add(stage, "orders", "shipments")
    async with replica(stage, **FOR_EVER) as first, replica(stage, **FOR_EVER) as second:
        await lead(first)
        await approve(stage, "orders")
        stage.feldera.ask("shipments")
        await stage.request("shipments")
        await wait_until(lambda: stage.kube.counts["get", "leases"] > 5, "the second one wants the Lease")
        acting, standing_by = await scrape(first), await scrape(second)
        assert (acting("leader"), standing_by("leader")) == (1, 0)
        assert acting("approve_calls_total", outcome="sent") == 1
        assert sum(standing_by.series("decisions_total").values()) == 0
        assert sum(standing_by.series("approve_calls_total").values()) == 0
        for seen in (acting, standing_by):
            assert sum(seen.series("pending").values()) == 1
            assert seen("poll_seconds_count", connection="own") > 0
        assert [(await get(port, "readyz"))[0] for port in (first, second)] == [200, 200]
    assert approvals(stage) == {"orders": 1}


async def test_a_replica_that_stops_hands_over_at_once(stage: Stage) -> None:
    add(stage, "orders")
    async with contextlib.AsyncExitStack() as first:
        await lead(await first.enter_async_context(replica(stage, **FOR_EVER)))
        stage.feldera.ask("orders")
        request = await stage.request("orders")
        async with replica(stage, **FOR_EVER) as second:
            await first.aclose()
            await lead(second)
            stage.annotate("orders", approve=request["id"])
            await stage.outcome("orders", "Bootstrapped")
            assert (await scrape(second))("approve_calls_total", outcome="sent") == 1
    assert holder(stage) == ""
    told = [event for event in stage.kube.list("events") if event["reason"] == "LeaderElection"]
    assert {event["involvedObject"]["kind"] for event in told} == {"Lease"}
    assert sorted("no longer" in event["message"] for event in told) == [False, False, True, True]


async def test_what_was_decided_while_nobody_acted_is_carried_out_by_the_next_one(stage: Stage) -> None:
    add(stage, "orders")
    stage.feldera.ask("orders")
    taken = {"holderIdentity": "a pod that is gone", "leaseDurationSeconds": 3600}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "pipeline-approver"}}
    stage.kube.put({**lease, "spec": taken})
    async with replica(stage, **FOR_EVER):
        stage.annotate("orders", approve="true")
        await stage.polls(5)
        assert set(stage.status("orders")) == {"observedGeneration"}, "as it is by default"
        stage.kube.put({**lease, "spec": {**taken, "holderIdentity": ""}})
        await stage.outcome("orders", "Bootstrapped")
    assert approvals(stage) == {"orders": 1}


async def test_a_replica_that_cannot_renew_stops_acting_and_goes_on_when_it_can(stage: Stage) -> None:
    add(stage, "orders")
    stage.feldera.ask("orders")
    short = {**LEASE, "lease_duration_seconds": 2.0, "lease_renew_deadline_seconds": 0.5}
    async with replica(stage, **short) as port:
        request = await stage.request("orders")
        fault = stage.kube.faults.add(("*", "leases"), kind="status", status=503, times=None)
        await scrape_until(port, lambda found: not found("leader"))
        stage.annotate("orders", approve=request["id"])
        await stage.polls(5)
        assert "decision" not in stage.status("orders")
        stage.kube.faults.remove(fault)
        await stage.outcome("orders", "Bootstrapped")
    assert approvals(stage) == {"orders": 1}


def rules(*files: str) -> list[dict[str, Any]]:
    """The rules of the operator's own account."""
    manifests = [manifest for file in files for manifest in yaml.safe_load_all((DEPLOY / file).read_text())]
    own = ("pipeline-approver-leader", "pipeline-approver-operator", "pipeline-approver-connections")
    return [rule for manifest in manifests if manifest["metadata"]["name"] in own for rule in manifest.get("rules", ())]


async def test_the_permissions_that_are_shipped_suffice(stage: Stage) -> None:
    granted = rules("base/030-rbac.yaml", "overlays/cluster-wide/031-rbac-pipelines.yaml")

    def allow(_: str, verb: str, group: str, plural: str, sub: str, __: str | None, name: str | None) -> bool:
        resource = f"{plural}/{sub}" if sub else plural
        return any(
            verb in rule["verbs"]
            and group in rule["apiGroups"]
            and resource in rule["resources"]
            and name in rule.get("resourceNames", [name])
            for rule in granted
        )

    stage.kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})
    stage.kube.allow = allow
    add(stage, "orders")
    settings = {**FOR_EVER, "lease_namespace": HOME}
    async with replica(stage, **settings) as first, replica(stage, **settings):
        await lead(first)
        await approve(stage, "orders")
        await wait_until(lambda: stage.kube.counts["update", "leases"] > 2)
    assert [record for record in stage.kube.requests if record.status == 403] == []
    assert {record.verb for record in stage.kube.requests if record.resource == "leases"} == {"get", "create", "update"}


async def test_a_missing_permission_for_the_lease_ends_the_process_with_what_to_do(
    stage: Stage, tmp_path: Path
) -> None:
    stage.kube.allow = lambda _, __, ___, plural, *____: plural != "leases"
    process = await stage.process(environ={"POD_NAMESPACE": "default"})
    await process.process.wait()
    code, output = await process.end()
    assert code == 1
    assert 'cannot get resource "leases"' in output
    assert "deploy/base/030-rbac.yaml" in output
    assert "--leader-elect=false" in output
    assert "Traceback" not in output


async def test_a_killed_replica_is_replaced_when_its_lease_has_run_out(stage: Stage, replicas: Replicas) -> None:
    add(stage, "orders")
    await replicas.start("a", *SHORT)
    await wait_until(lambda: holder(stage) == "a")
    await replicas.start("b", *SHORT)
    stage.feldera.ask("orders")
    request = await stage.request("orders")
    replicas.kill("a", signal.SIGKILL)
    stage.annotate("orders", approve=request["id"])
    await stage.outcome("orders", "Bootstrapped")
    assert holder(stage) == "b"
    assert approvals(stage) == {"orders": 1}
    assert (await replicas.scrape("b"))("approve_calls_total", outcome="sent") == 1


async def test_a_replica_that_wakes_up_directly_before_its_call_does_not_make_it(
    stage: Stage, replicas: Replicas
) -> None:
    """Frozen between the record of its decision and the call, and awake when another one has taken over."""
    add(stage, "orders", "shipments")
    # A call that was recorded may be made for nearly a minute: only the Lease is in the way.
    slow = (*SHORT, "--approve-timeout", "1", "--settle-time", "60")
    await replicas.start("a", *slow)
    await wait_until(lambda: holder(stage) == "a")
    await replicas.start("b", *slow)
    stage.feldera.ask("orders")
    request = await stage.request("orders")
    hold = stage.feldera.hold(("GET", "get"), where="after")
    stage.annotate("orders", approve=request["id"])
    await hold.reached.wait()
    assert stage.status("orders")["decision"]["outcome"] == "Sending"
    replicas.kill("a", signal.SIGSTOP)
    await wait_until(lambda: holder(stage) == "b")
    hold.release()
    replicas.kill("a", signal.SIGCONT)
    await stage.outcome("orders", "Bootstrapped")
    await approve(stage, "shipments")
    assert approvals(stage) == {"orders": 1, "shipments": 1}
    woken, acting = await replicas.scrape("a"), await replicas.scrape("b")
    assert sum(woken.series("approve_calls_total").values()) == 0
    assert acting("approve_calls_total", outcome="sent") == 2
    assert (woken("leader"), acting("leader")) == (0, 1)


async def test_two_replicas_that_both_act_carry_every_decision_out_once(stage: Stage) -> None:
    """The Lease saves work. What is correct rests on the conditional writes alone."""
    names = [f"p{number}" for number in range(24)]
    add(stage, *names)
    async with replica(stage, **PATIENT) as first, replica(stage, **PATIENT) as second:
        for name in names:
            stage.feldera.ask(name)
        requests = {name: await stage.request(name) for name in names}
        before = stage.kube.counts["patch", "pipelines/status"]
        # Both have their hands full before the first write is let through.
        hold = stage.kube.hold(("patch", "pipelines/status"))
        for name in names:
            stage.annotate(name, approve=requests[name]["id"])
        await wait_until(lambda: stage.kube.counts["patch", "pipelines/status"] >= before + 16)
        hold.release()
        for name in names:
            await stage.outcome(name, "Bootstrapped")
        acting = [await scrape(port) for port in (first, second)]
    assert approvals(stage) == dict.fromkeys(names, 1)
    assert [seen("leader") for seen in acting] == [1, 1]
    assert sum(seen("approve_calls_total", outcome="sent") for seen in acting) == len(names)
    assert sum(sum(seen.series("decisions_total").values()) for seen in acting) == len(names)
    assert any(record.status == 409 for record in stage.kube.requests), "they were in each other's way"
