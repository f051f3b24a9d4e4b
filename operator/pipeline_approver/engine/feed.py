"""One connection's feed: polls Feldera for all Pipelines of the connection, and says for whom something changed.

One list per poll serves every Pipeline. Where the list cannot be read because of one bad row, single reads replace
it; where it can be read but for some rows, single reads replace those.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pipeline_approver.core.case import Observation, Problem
from pipeline_approver.core.observation import PipelineView, Program
from pipeline_approver.feldera import errors
from pipeline_approver.feldera.client import FelderaClient

FAILURES_TO_REPORT = 3
PROGRAM_RETRY_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_POLL_SECONDS = 60.0
"""What a poll may take, and reading the Secret before it; one that takes longer holds decisions up."""
JITTER = 0.1
SINGLE_READS_AT_ONCE = 8

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Programs:
    """The programs of waiting deployments, by pipeline and deployment: read once, forgotten with the deployment."""

    known: dict[tuple[str, str], Program] = field(default_factory=dict)
    problems: dict[tuple[str, str], tuple[Problem, float]] = field(default_factory=dict)
    """Why one could not be read, and until when that counts."""

    def find_problem(self, deployment: tuple[str, str]) -> Problem | None:
        """Why the program could not be read just now; None when it is time to try (again)."""
        problem, until = self.problems.get(deployment, (None, 0.0))
        return problem if asyncio.get_running_loop().time() < until else None

    def keep(self, deployed: set[tuple[str, str]]) -> None:
        """Forget all other deployments."""
        self.known = {key: program for key, program in self.known.items() if key in deployed}
        self.problems = {key: problem for key, problem in self.problems.items() if key in deployed}


@dataclass(slots=True)
class Gaps:
    """What the last poll says of pipelines that it did not bring."""

    whole: bool = False
    """It brought all there are: another one does not exist."""
    absent: set[str] = field(default_factory=set)
    """These were asked for one by one, and do not exist."""
    failures: dict[str, tuple[int, errors.FelderaError]] = field(default_factory=dict)
    """These could not be read, though others could: how many times in a row, and why."""

    def is_absent(self, name: str) -> bool:
        """Whether a pipeline that was not brought is known not to exist."""
        return self.whole or name in self.absent

    def find_problem(self, name: str) -> Problem | None:
        """Why a pipeline is not known as it is now."""
        times, error = self.failures.get(name, (0, None))
        if error is None or times < FAILURES_TO_REPORT:
            return None
        return Problem(reason=error.reason, message=f"this pipeline cannot be read, though others can: {error}")


@dataclass(frozen=True, slots=True)
class Span:
    """From when Feldera was asked to when its answer was there: somewhere in between it is true."""

    began: float
    ended: float


class Feed:
    """What is known of the pipelines behind one connection.

    Answers overtake each other. What counts of a pipeline is the answer to the latest question: one that was asked
    before another's answer had arrived is dropped, since nobody can tell which of the two is newer.
    """

    def __init__(
        self,
        *,
        label: str,
        interval_seconds: float,
        names: Callable[[], Iterable[str]],
        changed: Callable[[Iterable[str]], None],
        everything_changed: Callable[[], None],
        measure: Callable[[float], None],
    ) -> None:
        """`measure` is told how many seconds each poll took, whatever came of it."""
        self.label = label
        self.client: FelderaClient | None = None
        self.problem: Problem | None = None
        self.unauthorized = False
        self._succeeded_at = asyncio.get_running_loop().time()
        self._interval = interval_seconds
        self._names = names
        self._changed = changed
        self._everything_changed = everything_changed
        self._measure = measure
        self._views: dict[str, PipelineView] = {}
        self._listed = Span(-1.0, -1.0)
        self._apart: dict[str, Span] = {}
        """When Feldera was asked for what is known of a pipeline, where that is not from the last list."""
        self._polled_at = -1.0
        self._awaited: dict[str, None] = {}
        """Names to report after the next poll, whatever it says: a set in order."""
        self._gaps = Gaps()
        self._failures = 0
        self._programs = Programs()
        self._retry_after = 0.0
        self._paused = interval_seconds

    @property
    def age(self) -> float:
        """Seconds since Feldera last answered a poll; since the feed was opened, when it never has."""
        return asyncio.get_running_loop().time() - self._succeeded_at

    @property
    def was_asked(self) -> bool:
        """Whether the connection was tried at all, well or not."""
        return self._polled_at >= 0

    def observe(self, name: str) -> Observation:
        """What is known of one pipeline."""
        view = self._views.get(name)
        deployment = (view.id, view.deployment_id or "") if view else ("", "")
        return Observation(
            view=view,
            absent=view is None and self._gaps.is_absent(name),
            program=self._programs.known.get(deployment),
            program_problem=self._programs.find_problem(deployment),
            problem=self.problem or self._gaps.find_problem(name),
        )

    def is_current(self, name: str, *, since: float | None) -> bool:
        """Whether what `observe` says was asked for after `since`, and neither are polls missing nor have many failed.

        They are missing when the process stood still: what it knows may be long over.
        """
        failed = self.problem is not None or self._gaps.find_problem(name) is not None
        asked_at = self._polled_at if failed else self._apart.get(name, self._listed).began
        if since is not None and asked_at < since:
            return False
        now, longest = asyncio.get_running_loop().time(), self._paused + LONGEST_POLL_SECONDS
        return now - max(self._polled_at, asked_at) <= longest and now - asked_at <= FAILURES_TO_REPORT * longest

    def await_news(self, name: str) -> None:
        """Have a pipeline reported after the next poll, also when nothing has changed."""
        self._awaited[name] = None

    def update(self, name: str, view: PipelineView | None, *, began: float) -> None:
        """Take in a single read that began at a time; None means that the pipeline does not exist."""
        if began < self._apart.get(name, self._listed).ended:
            return
        self._apart[name] = Span(began, asyncio.get_running_loop().time())
        if view is None:
            self._views.pop(name, None)
            self._gaps.absent.add(name)
        else:
            self._views[name] = view

    def find_program(self, pipeline_id: str, deployment_id: str) -> Program | None:
        """The program of a deployment, if it was read."""
        return self._programs.known.get((pipeline_id, deployment_id))

    def learn_program(self, view: PipelineView, program: Program) -> None:
        """Take in the program of a deployment."""
        deployment = (view.id, view.deployment_id or "")
        self._programs.problems.pop(deployment, None)
        self._programs.known[deployment] = program

    def fail_program(self, name: str, problem: Problem) -> None:
        """Note why a program could not be read."""
        view = self._views.get(name)
        if view is not None:
            until = asyncio.get_running_loop().time() + PROGRAM_RETRY_SECONDS
            self._programs.problems[(view.id, view.deployment_id or "")] = (problem, until)

    def find_program_retry(self, name: str) -> float:
        """In how many seconds it is time to read a program that could not be read."""
        view = self._views.get(name)
        _, until = self._programs.problems.get((view.id, view.deployment_id or "") if view else ("", ""), (None, 0.0))
        return until - asyncio.get_running_loop().time()

    def set_problem(self, problem: Problem | None) -> None:
        """Report a connection that cannot be used, or that it can be used again."""
        if problem != self.problem:
            self.problem = problem
            self._everything_changed()

    def forget_failures(self) -> None:
        """The connection was configured anew: what failed before says nothing about it."""
        self._failures, self._retry_after = 0, 0.0

    async def pause(self) -> None:
        """Wait for the next poll."""
        spread = 1 + random.uniform(-JITTER, JITTER)  # noqa: S311 - spreads load, guards nothing
        self._paused = max(self._interval * spread * self._slow_down(), self._retry_after)
        await asyncio.sleep(self._paused)

    async def poll(self) -> None:
        """Ask once."""
        loop = asyncio.get_running_loop()
        client, self._retry_after, started = self.client, 0.0, loop.time()
        try:
            if client is not None:
                await self._ask(client, started)
                self._succeeded_at = loop.time()
                self._failures, self.unauthorized = 0, False
                self.set_problem(None)
        except errors.FelderaError as error:
            self.fail(error)
        finally:
            if client is not None:
                self._measure(loop.time() - started)
            if client is not None or self.problem is not None:
                self._note_poll(started)

    def _note_poll(self, started: float) -> None:
        is_first, self._polled_at = not self.was_asked, started
        if is_first:
            self._everything_changed()
        elif self.problem is not None and self._awaited:
            self._changed(self._take_awaited())

    async def _ask(self, client: FelderaClient, began: float) -> None:
        try:
            listing = await client.list_pipelines()
        except (errors.Ambiguous, errors.BadAnswer) as error:
            # One row that cannot be read spoils the whole list, Feldera's 500 as well as JSON that is cut.
            if error.status not in (500, 501) and not isinstance(error, errors.Unreadable):
                raise
            found = await self._read_singly(client, list(self._names()))
            if not any(isinstance(answer, PipelineView | errors.NotFound) for answer in found.values()):
                raise
            self._take(self._views, found, began=began)
            return
        if listing.skipped:
            # A row that could not be read says nothing: its pipeline is neither gone nor as it was.
            missing = [name for name in self._names() if name not in listing.views]
            found = await self._read_singly(client, missing)
            before = {name: self._views[name] for name in missing if name in self._views}
            self._take({**before, **listing.views}, found, began=began)
        elif listing.unchanged and self._gaps.whole and not self._apart and not self._awaited:
            self._listed = Span(began, asyncio.get_running_loop().time())
        else:
            self._take(listing.views, {}, began=began, whole=True)

    async def _read_singly(
        self, client: FelderaClient, names: list[str]
    ) -> dict[str, PipelineView | errors.FelderaError]:
        limit = asyncio.Semaphore(SINGLE_READS_AT_ONCE)

        async def read(name: str) -> PipelineView | errors.FelderaError:
            async with limit:
                try:
                    return await client.get_pipeline(name)
                except errors.FelderaError as error:
                    return error

        return dict(zip(names, await asyncio.gather(*map(read, names)), strict=True))

    def _take(
        self,
        views: Mapping[str, PipelineView],
        found: Mapping[str, PipelineView | errors.FelderaError],
        *,
        began: float,
        whole: bool = False,
    ) -> None:
        """Take in the rows of a list, and what single reads found in place of some of them."""
        names = list(self._names())
        before = {name: self._say(name) for name in names}
        taken, gaps = dict(views), Gaps(whole=whole)
        kept = {name: span for name, span in self._apart.items() if span.ended > began}
        for name, answer in found.items():
            if isinstance(answer, PipelineView):
                taken[name] = answer
            elif isinstance(answer, errors.NotFound):
                taken.pop(name, None)
                gaps.absent.add(name)
            else:
                times, _ = self._gaps.failures.get(name, (0, answer))
                gaps.failures[name] = (times + 1, answer)
                kept[name] = self._apart.get(name, self._listed)
        for name in kept:
            taken.pop(name, None)
            if name in self._views:
                taken[name] = self._views[name]
            elif self._gaps.is_absent(name):
                gaps.absent.add(name)
        self._views, self._gaps, self._apart = taken, gaps, kept
        self._listed = Span(began, asyncio.get_running_loop().time())
        # Unavailable hides a request for a moment, and its program is needed again afterwards: so a program
        # is kept as long as its deployment, not as long as its request.
        deployed = {(view.id, view.deployment_id or "") for view in self._views.values()}
        self._programs.keep(deployed)
        awaited = self._take_awaited()
        self._changed(name for name in names if name in awaited or before[name] != self._say(name))

    def _say(self, name: str) -> tuple[PipelineView | None, bool, Problem | None]:
        view = self._views.get(name)
        return view, view is None and self._gaps.is_absent(name), self._gaps.find_problem(name)

    def _take_awaited(self) -> dict[str, None]:
        awaited, self._awaited = self._awaited, {}
        return awaited

    def fail(self, error: errors.FelderaError) -> None:
        """Count a failed poll, and report the third one in a row."""
        self._failures += 1
        self.unauthorized = isinstance(error, errors.Unauthorized)
        self._retry_after = error.retry_after or 0.0
        level = logging.WARNING if self._failures == FAILURES_TO_REPORT else logging.DEBUG
        log.log(level, "polling %s failed %d times: %s", self.label, self._failures, error)
        if self._failures >= FAILURES_TO_REPORT:
            self.set_problem(Problem(reason=error.reason, message=str(error)))

    def _slow_down(self) -> float:
        """How much longer to pause after failures: the factor doubles once they are reported."""
        excess = max(0, self._failures - FAILURES_TO_REPORT + 1)
        return min(2.0**excess, max(1.0, LONGEST_PAUSE_SECONDS / max(self._interval, 0.001)))
