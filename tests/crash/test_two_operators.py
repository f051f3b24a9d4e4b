"""Two operators at once, without any Lease, on many pipelines, killed and frozen at random: one approval each."""

import asyncio
import contextlib
import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from crash.conftest import REAL, SANDBOX, Open, Outcomes, build_params
from support import processes
from support.processes import Operator
from support.stage import Stage, wait_until

TIMES = ("--poll-interval", "0.1", "--approve-timeout", "1", "--settle-time", "2", "--health-port", "0")
PIPELINES, ROUNDS = 20, 12
WAITS = (0.0, 0.05, 0.3)
"""Seconds between two blows: in the middle of a call, of a pass, of a start."""


@dataclass(frozen=True, slots=True)
class Case:
    seed: int
    where: str

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.where}"


CASES = [Case(1, SANDBOX), Case(2, REAL)]


async def tell(case: Case, open_stage: Open, folder: Path) -> list[str]:
    dice = random.Random(case.seed)
    names = [f"p{number}" for number in range(PIPELINES)]
    async with open_stage(case.where, approve_style=dice.choice(("string", "documented"))) as stage:
        asked = {}
        for name in names:
            stage.feldera.add(name)
            asked[name] = [stage.feldera.ask(name)]
            stage.create(name)
        async with contextlib.AsyncExitStack() as stack:
            operators = [await start(stage, folder, stack, number) for number in range(2)]
            for name in names:
                await stage.request(name)
            for turn in range(ROUNDS):
                for name in dice.sample(names, PIPELINES // 4):
                    stage.annotate(name, approve=f"true@{turn}")
                await asyncio.sleep(dice.choice(WAITS))
                operators = await strike(dice, stage, folder, stack, operators, turn)
            for name in names:
                stage.annotate(name, approve="true@last")
            for name in names:
                await stage.reach(name, lambda status: status.get("decision", {}).get("checkpoint") == "Durable")
            wrong = [complaint for operator in operators for complaint in operator.complaints()]
        return [*wrong, *judge(stage, asked)]


def judge(stage: Stage, asked: dict[str, list[str]]) -> list[str]:
    """Every deployment that asked was approved once, as the record says, and no other one was."""
    wrong = []
    for name, deployments in asked.items():
        effective = [it.deployment_id for it in stage.feldera.approvals if it.name == name and it.effective]
        recorded = [entry["deploymentId"] for entry in stage.status(name)["history"]]
        if not effective == recorded == deployments:
            wrong.append(f"{name}: asked {deployments}, approved {effective}, recorded {recorded}")
    if any(record.silent or record.concurrent for record in stage.feldera.approvals):
        wrong.append("other flags")
    return wrong


async def start(stage: Stage, folder: Path, stack: contextlib.AsyncExitStack, number: int) -> Operator:
    environ = {**os.environ, **stage.environ, **processes.ENVIRON}
    scope = ("--namespace", stage.kube.namespace) if hasattr(stage.kube, "namespace") else ()
    log = folder / f"operator-{number}.log"
    return await stack.enter_async_context(processes.running((*TIMES, *scope), environ, log))


async def strike(
    dice: random.Random,
    stage: Stage,
    folder: Path,
    stack: contextlib.AsyncExitStack,
    operators: list[Operator],
    turn: int,
) -> list[Operator]:
    """One of both is killed and replaced, or frozen until its calls are long over; the other one goes on."""
    victim, other = dice.sample(operators, 2)
    if dice.random() < 0.5:
        victim.kill()
        return [other, await start(stage, folder, stack, 10 + turn)]
    victim.freeze()
    before = stage.feldera.counts[("GET", "/v0/pipelines", "status")]
    polls = dice.choice((1, 30))
    await wait_until(lambda: stage.feldera.counts[("GET", "/v0/pipelines", "status")] >= before + polls, "polls")
    victim.thaw()
    return operators


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("case", build_params(CASES))
async def test_two_operators_that_die_and_freeze_at_random_approve_everything_once(
    case: Case, outcomes: Outcomes
) -> None:
    assert await outcomes[case] == []
