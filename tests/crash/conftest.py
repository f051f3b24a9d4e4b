"""Stories with real processes, told at the same time, each reported by a test of its own.

A story is a case of some module's `tell`; all that were selected begin with the first test that asks for one. Most of
their time they wait for each other's time-outs, so together they take hardly longer than the longest one. They all
live in the loop of the session, and so must every test of this folder.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from crash.points import Point
from support.stage import Stage

AT_ONCE = 8
"""How many stories are told at the same time: few enough for two cores."""
SANDBOX, REAL = "sandbox", "kube-apiserver"


@dataclass(frozen=True, slots=True)
class Case:
    """One cell of the crash matrix."""

    act: str
    style: str
    point: Point
    how: str
    where: str

    def __str__(self) -> str:
        return f"{self.how} {self.point}, {self.act} with {self.style} answers, {self.where}"


Open = Callable[..., contextlib.AbstractAsyncContextManager[Stage]]
"""Opens a stage, here or there: `open_stage(where, **feldera)`."""
Outcomes = dict[Any, "asyncio.Task[Any]"]
"""What each story told in the end."""


def build_params(cases: Sequence[Any]) -> list[Any]:
    """For parametrize: those on a real API server carry the mark."""
    marks = {REAL: [pytest.mark.e2e], SANDBOX: []}
    return [pytest.param(case, id=str(case), marks=marks[case.where]) for case in cases]


@contextlib.asynccontextmanager
async def open_stage(folder: Path, request: pytest.FixtureRequest, where: str, **feldera: Any) -> AsyncIterator[Stage]:
    """A stage in the memory of this process, or on the real API server of this run."""
    if where == SANDBOX:
        async with Stage(folder, **feldera) as stage:
            yield stage
    else:
        from support.real import RealStage

        async with RealStage(folder, request.getfixturevalue("cluster"), **feldera) as stage:
            yield stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Outcomes]:
    """The running stories by case. Those of a module with `IS_LONG` begin first."""
    modules = {
        item.callspec.params["case"]: item.module
        for item in request.session.items
        if "outcomes" in getattr(item, "fixturenames", ()) and "case" in item.callspec.params
    }
    if any(case.where == REAL for case in modules):
        request.getfixturevalue("cluster")
    limit = asyncio.Semaphore(AT_ONCE)

    async def tell(case: Any) -> Any:
        async with limit:
            folder = tmp_path_factory.mktemp("story")
            try:
                wrong = await modules[case].tell(case, functools.partial(open_stage, folder, request), folder)
                if isinstance(wrong, list) and wrong:
                    raise AssertionError("\n".join(wrong))
            except AssertionError as error:
                logs = [f"{log.name}:\n{log.read_text()}" for log in sorted(folder.glob("*.log"))]
                raise AssertionError("\n".join([str(error), *logs])) from None
            return wrong

    in_order = sorted(modules, key=lambda case: not hasattr(modules[case], "IS_LONG"))
    told = {case: asyncio.create_task(tell(case), name=str(case)) for case in in_order}
    try:
        yield told
    finally:
        for task in told.values():
            task.cancel()
        await asyncio.gather(*told.values(), return_exceptions=True)
