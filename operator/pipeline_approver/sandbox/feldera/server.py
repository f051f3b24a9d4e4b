"""FelderaServer: the simulated Feldera on a loopback port, with everything that a test may want to turn."""

import collections
import dataclasses
import ssl
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from pipeline_approver.sandbox.feldera import catalog, compiler, diffs
from pipeline_approver.sandbox.feldera.cluster import ClusterRoutes
from pipeline_approver.sandbox.feldera.control import ControlRoutes
from pipeline_approver.sandbox.feldera.faults import FaultPlan, Hold, Match
from pipeline_approver.sandbox.feldera.gate import Gate
from pipeline_approver.sandbox.feldera.manager import Manager
from pipeline_approver.sandbox.feldera.model import NEVER_AT_REST, SimPipeline
from pipeline_approver.sandbox.feldera.records import ApprovalRecord, RequestRecord, StopRecord
from pipeline_approver.sandbox.feldera.routes import PipelineRoutes
from pipeline_approver.sandbox.feldera.rows import Row
from pipeline_approver.sandbox.feldera.world import World

_MOST_BODY_BYTES = 64 * 2**20
_SHUTDOWN_SECONDS = 0.1


class FelderaServer:
    """A simulated Feldera with one tenant.

    `lag_seconds` lies between the real process and what GET says, `step_seconds` is the duration of each transient
    phase. `edition` is Enterprise or Open source, `approve_style` string or documented, `details_shape` new or old;
    `api_keys` maps whole keys (with their prefix `apikey:`) to read or write, None switches authentication off.
    All of these may also be changed later, on `world` and `gate`. Use it from one event loop only.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        lag_seconds: float = 0.05,
        step_seconds: float = 0.05,
        edition: str = "Enterprise",
        approve_style: str = "string",
        details_shape: str = "new",
        api_keys: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if approve_style not in {"string", "documented"} or details_shape not in {"new", "old"}:
            raise ValueError("approve_style is string or documented, details_shape is new or old")
        self.world = World(
            lag_seconds=lag_seconds,
            step_seconds=step_seconds,
            edition=edition,
            approve_style=approve_style,
            details_shape=details_shape,
        )
        self.manager = Manager(self.world)
        self.faults = FaultPlan()
        self.gate = Gate(plan=self.faults, api_keys=api_keys)
        self._host, self._port, self._ssl = host, port, ssl_context
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(middlewares=[self.gate.middleware()], client_max_size=_MOST_BODY_BYTES)
        app.add_routes(PipelineRoutes(self.manager).table())
        app.add_routes(ClusterRoutes(world=self.world, gate=self.gate).table())
        app.add_routes(ControlRoutes(self).table())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=self._ssl)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port, forget all timers, release all holds; state and records stay readable."""
        self.world.timers.close()
        self.faults.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        """For example http://127.0.0.1:40123, without a slash at the end; valid once started."""
        return f"{'https' if self._ssl else 'http'}://{self._host}:{self._port}"

    @property
    def pipelines(self) -> dict[str, SimPipeline]:
        return self.manager.pipelines

    @property
    def approvals(self) -> list[ApprovalRecord]:
        """Every approve call that reached a process."""
        return self.world.approvals

    @property
    def stops(self) -> list[StopRecord]:
        """Every accepted stop."""
        return self.world.stops

    @property
    def requests(self) -> collections.deque[RequestRecord]:
        """The last 20,000 requests."""
        return self.gate.requests

    @property
    def counts(self) -> collections.Counter[tuple[str, str, str]]:
        """All requests by method, route template and selector ("" when not given)."""
        return self.gate.counts

    def add(
        self,
        name: str,
        *,
        program: str = "",
        state: str = "Running",
        diff: dict[str, Any] | None = None,
        checkpointed: bool = True,
        **fields: Any,
    ) -> SimPipeline:
        """Seed a compiled pipeline that is already in `state` (Running, Paused, Stopped, AwaitingApproval, …).

        `diff` is what it waits for, or, in another state, what its next start will find. `fields` go to the row, for
        example `tags`, `udf_rust`, `platform_version`. Raises ValueError for a name in use or an unknown field.
        """
        if name in self.pipelines or catalog.NAME.match(name) is None:
            raise ValueError(f"pipeline name {name!r} is in use or not valid")
        if unknown := set(fields) - {field.name for field in dataclasses.fields(Row)}:
            raise ValueError(f"a pipeline has no field {', '.join(sorted(unknown))}")
        if state in NEVER_AT_REST:
            raise ValueError(f"no pipeline rests in {state}")
        pipeline = self.manager.new(name)
        row = pipeline.row
        row.program_code = program
        for key, value in fields.items():
            setattr(row, key, value)
        compiler.compile_at_once(pipeline)
        if checkpointed or state == "AwaitingApproval":
            row.storage_status = "InUse"
            pipeline.make_durable()
        if state == "AwaitingApproval":
            self.ask(name, diff=diff)
        else:
            pipeline.change = diff
            pipeline.settle(state)
        # So that the first list of thousands is as fast as the next.
        pipeline.json("status")
        return pipeline

    def ask(
        self,
        name: str,
        *,
        diff: dict[str, Any] | None = None,
        silent: bool = False,
        concurrent: bool = False,
    ) -> str:
        """Put a pipeline into AwaitingApproval in a fresh deployment, observed at once; the deployment id.

        Without `diff` it waits for what its program changed since its checkpoint, or for one added view.
        """
        pipeline = self.manager.get(name)
        if diff is None:
            pipeline.change = None
            diff = pipeline.found_diff() or diffs.pipeline_diff(added_views=["added_view"])
        return pipeline.await_approval(diff, silent=silent, concurrent=concurrent)

    def remove(self, name: str) -> None:
        """Delete a pipeline, in whatever state it is."""
        self.manager.remove(name)

    def hold(self, match: Match, *, where: str = "before", pipeline: str | None = None) -> Hold:
        """Stop matching requests at an exact point: `before` they are applied, or `after`, unanswered."""
        return self.faults.hold(match, where=where, pipeline=pipeline)
