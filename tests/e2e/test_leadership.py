"""Of two replicas on a real API server one acts; and what becomes of the Lease when it stops, dies or freezes."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.cluster import SYSTEM
from support.processes import Operator
from support.real import RealStage
from support.stage import wait_until

pytestmark = pytest.mark.e2e

NAME = "orders"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/pipeline-approver"
TIMES = ("--leader-elect", "--lease-duration", "4", "--lease-renew-deadline", "3", "--lease-retry-period", "0.5")


@contextlib.asynccontextmanager
async def replica(ground: RealStage, name: str) -> AsyncIterator[Operator]:
    async with ground.operated_by(*TIMES, environ={"POD_NAMESPACE": SYSTEM, "POD_NAME": name}) as operator:
        yield operator


def holder(ground: RealStage) -> str:
    """The pod that holds the Lease; empty for nobody."""
    status, lease = ground.cluster.server.request("GET", LEASE)
    identity: str = lease["spec"].get("holderIdentity") or "" if status == 200 else ""
    return identity.partition("_")[0]


async def two_replicas(ground: RealStage, stack: contextlib.AsyncExitStack) -> tuple[Operator, Operator]:
    """The first one holds the Lease, and a request waits."""
    ground.feldera.add(NAME)
    ground.feldera.ask(NAME)
    ground.create(NAME)
    first = await stack.enter_async_context(replica(ground, "first"))
    await first.says("holds the Lease, and acts")
    await ground.request(NAME)
    second = await stack.enter_async_context(replica(ground, "second"))
    await second.says("all Pipelines are known")
    return first, second


async def approve(ground: RealStage, token: str) -> dict[str, Any]:
    ground.annotate(NAME, approve=token)
    await ground.outcome(NAME, "Bootstrapped")
    return ground.status(NAME)


async def test_a_stopped_replica_gives_the_lease_back(ground: RealStage) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await two_replicas(ground, stack)
        first.terminate()
        assert await first.ended() == 0
        await second.says("holds the Lease, and acts")
        await approve(ground, "true")
        assert holder(ground) == "second"
    assert len(ground.feldera.approvals) == 1
    assert holder(ground) == ""


async def test_a_killed_replica_is_replaced_in_the_middle_of_an_approval(ground: RealStage) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await two_replicas(ground, stack)
        held = ground.feldera.hold(("POST", "approve"), where="after")
        ground.annotate(NAME, approve="true")
        await held.reached.wait()
        first.kill()
        ground.feldera.faults.holds.remove(held)
        held.release(cut=True)
        await second.says("holds the Lease, and acts")
        await ground.reach(NAME, lambda status: status.get("decision", {}).get("checkpoint") == "Durable")
    assert len(ground.feldera.approvals) == 1


async def test_a_frozen_leader_that_wakes_does_not_act(ground: RealStage) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second = await two_replicas(ground, stack)
        first.freeze()
        await second.says("holds the Lease, and acts")
        await approve(ground, "true@1")
        ground.feldera.ask(NAME)
        request = await ground.request(NAME)
        second.freeze()
        ground.annotate(NAME, approve=request["id"])
        first.thaw()
        await first.says("no longer holds the Lease, and has stopped acting")
        assert len(ground.feldera.approvals) == 1
        # Its turn comes again when the other one is silent for long enough; until then nobody acts.
        await wait_until(lambda: holder(ground) == "first", "the first one takes the Lease again")
        await ground.reach(NAME, lambda status: status["decision"]["requestId"] == request["id"])
        await ground.outcome(NAME, "Bootstrapped")
        second.thaw()
        await second.says("no longer holds the Lease, and has stopped acting")
    assert [record.effective for record in ground.feldera.approvals] == [True, True]
