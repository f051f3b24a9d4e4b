"""The election: who may act, by a clock that the test turns, over a real HTTP API."""

import asyncio
import datetime
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from kubernetes.aio import client

from pipeline_approver.kube.api import KubeApi
from pipeline_approver.kube.lease import Lease, Timing
from support.stage import Stage, wait_until

NAMESPACE = "ops"
TIMING = Timing(duration=15, renew_deadline=10, retry_period=2)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds


class Replica(Lease):
    """A replica that remembers what it announced. Its wall clock may be as wrong as it likes."""

    def __init__(self, kube: KubeApi, clock: Clock, name: str, *, timing: Timing = TIMING, years_off: int = 0) -> None:
        self.told: list[tuple[bool, str]] = []
        super().__init__(
            kube,
            namespace=NAMESPACE,
            name="pipeline-approver",
            identity=name,
            timing=timing,
            now=lambda: datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=365 * years_off),
            on_change=lambda holds, message: self.told.append((holds, message)),
            clock=clock,
        )

    @property
    def changes(self) -> list[bool]:
        return [holds for holds, _ in self.told]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def join(stage: Stage, clock: Clock) -> AsyncIterator[Callable[..., Replica]]:
    """A function that makes a replica."""
    stage.kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    configuration = client.Configuration()
    configuration.host = stage.kube.url
    configuration.api_key["BearerToken"] = "Bearer user:operator"
    kube = KubeApi(configuration)
    yield lambda name, **options: Replica(kube, clock, name, **options)
    await kube.aclose()


def lease(stage: Stage) -> dict[str, Any]:
    found = stage.kube.get("leases", NAMESPACE, "pipeline-approver")
    assert found is not None
    return dict(found)


def spec(stage: Stage) -> dict[str, Any]:
    return dict(lease(stage)["spec"])


async def test_the_first_replica_creates_the_lease_and_holds_it(stage: Stage, join: Callable[..., Replica]) -> None:
    a = join("a")
    await a.check()
    assert not a.is_held()
    await a.attempt()
    assert a.is_held()
    assert a.changes == [True]
    found = spec(stage)
    assert (found["holderIdentity"], found["leaseDurationSeconds"], found["leaseTransitions"]) == ("a", 15, 0)
    assert found["acquireTime"] == found["renewTime"]


async def test_renewing_is_one_request_and_keeps_the_time_of_acquiring(
    stage: Stage, join: Callable[..., Replica], clock: Clock
) -> None:
    a = join("a")
    await a.attempt()
    acquired, before = spec(stage)["acquireTime"], sum(stage.kube.counts.values())
    clock.pass_by(2)
    await a.attempt()
    assert sum(stage.kube.counts.values()) == before + 1
    found = spec(stage)
    assert (found["acquireTime"], found["leaseTransitions"]) == (acquired, 0)
    assert found["renewTime"] > acquired
    assert a.changes == [True]


async def test_nobody_takes_a_lease_that_is_renewed(stage: Stage, join: Callable[..., Replica], clock: Clock) -> None:
    a, b = join("a"), join("b")
    for _ in range(20):
        await a.attempt()
        clock.pass_by(9)
        await b.attempt()
        assert a.is_held()
        assert not b.is_held()
    assert spec(stage)["leaseTransitions"] == 0


@pytest.mark.parametrize("years_off", [-30, 0, 30])
async def test_a_silent_holder_is_replaced_after_its_duration_as_the_other_saw_it(
    stage: Stage, join: Callable[..., Replica], clock: Clock, years_off: int
) -> None:
    a, b = join("a", years_off=years_off), join("b")
    await a.attempt()
    clock.pass_by(100)
    # Seen for the first time now, whatever the time in it says: so its duration begins now.
    await b.attempt()
    clock.pass_by(14.9)
    await b.attempt()
    assert not b.is_held()
    clock.pass_by(0.1)
    await b.attempt()
    assert b.is_held()
    assert (spec(stage)["holderIdentity"], spec(stage)["leaseTransitions"]) == ("b", 1)


async def test_the_duration_that_counts_is_the_holders(join: Callable[..., Replica], clock: Clock) -> None:
    a = join("a", timing=Timing(duration=60, renew_deadline=40, retry_period=5))
    b = join("b")
    await a.attempt()
    await b.attempt()
    clock.pass_by(59)
    await b.attempt()
    assert not b.is_held()
    clock.pass_by(1)
    await b.attempt()
    assert b.is_held()


async def test_a_holder_that_was_frozen_knows_when_it_wakes_that_it_must_not_act(
    stage: Stage, join: Callable[..., Replica], clock: Clock
) -> None:
    a = join("a")
    await a.attempt()
    clock.pass_by(9.9)
    assert a.is_held()
    asked = sum(stage.kube.counts.values())
    clock.pass_by(0.1)
    assert not a.is_held()
    assert sum(stage.kube.counts.values()) == asked, "it knows without asking anybody"


async def test_there_is_no_moment_in_which_two_may_act(join: Callable[..., Replica], clock: Clock) -> None:
    a, b = join("a"), join("b")
    await a.attempt()
    await b.attempt()
    for _ in range(200):
        clock.pass_by(0.1)
        await b.attempt()
        assert not (a.is_held() and b.is_held())
    assert b.is_held()


async def test_a_renewal_counts_from_the_moment_at_which_it_was_asked_for(
    stage: Stage, join: Callable[..., Replica], clock: Clock
) -> None:
    a = join("a")
    await a.attempt()
    clock.pass_by(5)
    hold = stage.kube.hold(("update", "leases"), where="after")
    renewing = asyncio.create_task(a.attempt())
    await hold.reached.wait()
    clock.pass_by(4)
    hold.release()
    await renewing
    clock.pass_by(5.9)
    assert a.is_held()
    clock.pass_by(0.1)
    assert not a.is_held()
    assert a.changes == [True]


async def test_time_that_ran_out_during_a_renewal_is_told_as_lost_and_gained(
    stage: Stage, join: Callable[..., Replica], clock: Clock
) -> None:
    """Work was left undone meanwhile, and has to be looked for."""
    a = join("a")
    await a.attempt()
    clock.pass_by(8)
    hold = stage.kube.hold(("update", "leases"), where="after")
    renewing = asyncio.create_task(a.attempt())
    await hold.reached.wait()
    clock.pass_by(3)
    assert not a.is_held()
    hold.release()
    await renewing
    assert a.is_held()
    assert a.changes == [True, False, True]


async def test_a_holder_that_cannot_renew_stops_in_time_and_says_so(
    stage: Stage, join: Callable[..., Replica], clock: Clock
) -> None:
    a = join("a")
    await a.attempt()
    fault = stage.kube.faults.add(("*", "leases"), kind="status", status=503, times=None)
    for _ in range(6):
        clock.pass_by(2)
        await a.attempt()
    assert not a.is_held()
    assert a.changes == [True, False]
    assert "could not be renewed in time" in a.told[-1][1]
    stage.kube.faults.remove(fault)
    await a.attempt()
    assert a.is_held()
    assert a.changes == [True, False, True]
    assert spec(stage)["leaseTransitions"] == 0


async def test_a_holder_that_was_replaced_stops_at_its_next_attempt(
    stage: Stage, join: Callable[..., Replica], clock: Clock
) -> None:
    a = join("a")
    await a.attempt()
    taken = lease(stage)
    stage.kube.put({**taken, "spec": {**taken["spec"], "holderIdentity": "b"}})
    clock.pass_by(2)
    assert a.is_held(), "it cannot know yet"
    await a.attempt()
    assert not a.is_held()
    assert "b has taken it over" in a.told[-1][1]


async def test_a_holder_survives_that_somebody_else_edits_the_lease(
    stage: Stage, join: Callable[..., Replica], clock: Clock
) -> None:
    a = join("a")
    await a.attempt()
    edited = lease(stage)
    stage.kube.put({**edited, "metadata": {**edited["metadata"], "labels": {"team": "ops"}}})
    clock.pass_by(2)
    await a.attempt()
    clock.pass_by(9)
    assert a.is_held()
    assert a.changes == [True]
    assert lease(stage)["metadata"]["labels"] == {"team": "ops"}


async def test_a_deleted_lease_is_created_again(stage: Stage, join: Callable[..., Replica], clock: Clock) -> None:
    a = join("a")
    await a.attempt()
    stage.kube.delete("leases", NAMESPACE, "pipeline-approver")
    clock.pass_by(2)
    await a.attempt()
    clock.pass_by(9)
    assert a.is_held()
    assert a.changes == [True]


async def test_of_many_that_create_it_at_once_one_holds_it(stage: Stage, join: Callable[..., Replica]) -> None:
    replicas = [join(f"r{number}") for number in range(8)]
    hold = stage.kube.hold(("create", "leases"))
    attempts = [asyncio.create_task(replica.attempt()) for replica in replicas]
    await wait_until(lambda: stage.kube.counts["create", "leases"] == len(replicas))
    hold.release()
    await asyncio.gather(*attempts)
    assert [replica.is_held() for replica in replicas].count(True) == 1


async def test_of_many_that_take_it_over_at_once_one_holds_it(
    stage: Stage, join: Callable[..., Replica], clock: Clock
) -> None:
    await join("gone").attempt()
    replicas = [join(f"r{number}") for number in range(8)]
    for replica in replicas:
        await replica.attempt()
    clock.pass_by(15)
    hold = stage.kube.hold(("update", "leases"))
    attempts = [asyncio.create_task(replica.attempt()) for replica in replicas]
    await wait_until(lambda: stage.kube.counts["update", "leases"] == len(replicas))
    hold.release()
    await asyncio.gather(*attempts)
    assert [replica.is_held() for replica in replicas].count(True) == 1


async def test_a_lease_that_is_given_back_can_be_taken_at_once(stage: Stage, join: Callable[..., Replica]) -> None:
    a, b = join("a"), join("b")
    await a.attempt()
    await b.attempt()
    await a.release(timeout=1)
    assert not a.is_held()
    assert spec(stage)["holderIdentity"] == ""
    assert a.changes == [True, False]
    await b.attempt()
    assert b.is_held()


async def test_a_lease_is_given_back_although_its_last_renewal_was_not_heard(
    stage: Stage, join: Callable[..., Replica], clock: Clock
) -> None:
    a = join("a")
    await a.attempt()
    stage.kube.faults.add(("update", "leases"), kind="applied_then_drop")
    clock.pass_by(2)
    await a.attempt()
    await a.release(timeout=1)
    assert spec(stage)["holderIdentity"] == ""


async def test_nobody_gives_back_what_another_one_holds(
    stage: Stage, join: Callable[..., Replica], clock: Clock
) -> None:
    a, b = join("a"), join("b")
    await a.attempt()
    await b.attempt()
    clock.pass_by(15)
    await b.attempt()
    await a.release(timeout=1)
    assert spec(stage)["holderIdentity"] == "b"
    await b.attempt()
    assert b.is_held()


async def test_giving_back_waits_for_nobody(
    stage: Stage, join: Callable[..., Replica], caplog: pytest.LogCaptureFixture
) -> None:
    a = join("a")
    await a.attempt()
    stage.kube.faults.add(("update", "leases"), kind="hang")
    await a.release(timeout=0.2)
    assert not a.is_held()
    assert "could not be given back" in caplog.text


async def test_an_api_server_that_hangs_is_given_up_on_before_the_deadline(
    stage: Stage, join: Callable[..., Replica]
) -> None:
    a = join("a", timing=Timing(duration=2, renew_deadline=0.4, retry_period=0.1))
    stage.kube.faults.add(("*", "leases"), kind="hang")
    await a.attempt()
    assert not a.is_held()
    await a.attempt()
    assert a.is_held()


async def test_a_missing_permission_is_named_once_in_the_log(
    stage: Stage, join: Callable[..., Replica], caplog: pytest.LogCaptureFixture
) -> None:
    a = join("a")
    stage.kube.allow = lambda user, verb, *_: verb != "create"
    with caplog.at_level(logging.WARNING, "pipeline_approver"):
        for _ in range(3):
            await a.attempt()
    assert not a.is_held()
    (record,) = caplog.records
    assert 'cannot create resource "leases"' in record.getMessage()
    assert "ops/pipeline-approver" in record.getMessage()
