"""Stories with real processes, told at the same time, each reported by a test of its own.

A story is a case of some module's `tell`. Whoever asks for the outcome of one sets off the next ones too: most of their
time they wait for somebody's time-outs, so together they take hardly longer than the longest one. They all live in
the loop of the session, and so must every test of this folder.
"""

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from crash.points import Point
from support.stage import Stage

AT_ONCE = max(2, 12 // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
"""How many stories are told at the same time: few enough for two cores, however many workers share them."""
AHEAD = 2 * AT_ONCE
"""How many are set off; those that find no room wait."""
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


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Refuse a test that would have the stories stand still while their operators go on."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            marker = item.get_closest_marker("asyncio")
            if marker is None or marker.kwargs.get("loop_scope") != "session":
                raise pytest.UsageError(f"{item.nodeid}: tests of this folder live in the loop of the session")


Open = Callable[..., contextlib.AbstractAsyncContextManager[Stage]]
"""Opens a stage, here or there: `open_stage(where, **feldera)`."""


class Outcomes:
    """What the stories told in the end."""

    def __init__(self, cases: list[Any], begin: Callable[[Any], "asyncio.Task[Any]"]) -> None:
        self._cases = cases
        self._begin = begin
        self.told: dict[Any, asyncio.Task[Any]] = {}

    def __getitem__(self, case: Any) -> "asyncio.Task[Any]":
        """A story that is being told, and the next ones with it."""
        at = self._cases.index(case)
        for each in self._cases[at : at + AHEAD]:
            if each not in self.told:
                self.told[each] = self._begin(each)
        return self.told[case]


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
    """The stories of the selected tests, in their order."""
    modules = {
        item.callspec.params["case"]: item.module
        for item in request.session.items
        if "outcomes" in getattr(item, "fixturenames", ())
    }
    if any(case.where == REAL for case in modules):
        request.getfixturevalue("cluster")
    limit = asyncio.Semaphore(AT_ONCE)

    async def tell(case: Any) -> Any:
        async with limit:
            folder = tmp_path_factory.mktemp("story")
            try:
                wrong = await modules[case].tell(case, functools.partial(open_stage, folder, request), folder)
                assert not isinstance(wrong, list) or wrong == []
            except AssertionError as error:
                logs = [f"{log.name}:\n{log.read_text()}" for log in sorted(folder.glob("*.log"))]
                raise AssertionError("\n".join([str(error), *logs])) from None
            return wrong

    outcomes = Outcomes(list(modules), lambda case: asyncio.create_task(tell(case), name=str(case)))
    try:
        yield outcomes
    finally:
        for task in outcomes.told.values():
            task.cancel()
        await asyncio.gather(*outcomes.told.values(), return_exceptions=True)
