"""The crash matrix: short stories with real processes, told at the same time, each reported by a test of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from crash.points import Point
from support.stage import Stage

AT_ONCE = 8
"""Stories at the same time: enough that nobody waits for anybody's time-outs, and few enough for two cores."""
SANDBOX, REAL = "sandbox", "kube-apiserver"


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the matrix."""

    act: str
    style: str
    point: Point
    how: str
    where: str

    def __str__(self) -> str:
        return f"{self.how} {self.point}, {self.act} with {self.style} answers, {self.where}"


def build_params(cases: list[Case]) -> list[Any]:
    """For parametrize: those on a real API server carry the mark."""
    marks = {REAL: [pytest.mark.e2e], SANDBOX: []}
    return [pytest.param(case, id=str(case), marks=marks[case.where]) for case in cases]


@contextlib.asynccontextmanager
async def open_stage(where: str, folder: Path, request: pytest.FixtureRequest, **feldera: Any) -> AsyncIterator[Stage]:
    """A stage in the memory of this process, or on the real API server of this run."""
    if where == SANDBOX:
        async with Stage(folder, **feldera) as stage:
            yield stage
    else:
        from support.real import RealStage

        async with RealStage(folder, request.getfixturevalue("cluster"), **feldera) as stage:
            yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[Case, "asyncio.Task[list[str]]"]]:
    """What is wrong at the end of each selected case of a module; they all begin with the first test."""
    cases = [
        item.callspec.params["case"]
        for item in request.session.items
        if item.module is request.module and hasattr(item, "callspec") and "case" in item.callspec.params
    ]
    if any(case.where == REAL for case in cases):
        request.getfixturevalue("cluster")
    limit = asyncio.Semaphore(AT_ONCE)

    async def tell(case: Case) -> list[str]:
        async with limit:
            folder = tmp_path_factory.mktemp("case")
            async with open_stage(case.where, folder, request, approve_style=case.style) as stage:
                try:
                    wrong: list[str] = await request.module.tell(case, stage, folder)
                except AssertionError as error:
                    logs = [f"{log.name}:\n{log.read_text()}" for log in sorted(folder.glob("*.log"))]
                    raise AssertionError("\n".join([str(error), *logs])) from None
                return wrong

    told = {case: asyncio.create_task(tell(case), name=str(case)) for case in cases}
    try:
        yield told
    finally:
        for task in told.values():
            task.cancel()
        await asyncio.gather(*told.values(), return_exceptions=True)
