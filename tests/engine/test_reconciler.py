"""A pass of the reconciler while the connection is not open."""

import asyncio
import datetime
import time
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from pipeline_approver.core.case import Rules
from pipeline_approver.engine.cache import Cache, ConnectionKey
from pipeline_approver.engine.connections import Connections
from pipeline_approver.engine.feed import Feed
from pipeline_approver.engine.queue import Lane, WorkQueue
from pipeline_approver.engine.reconciler import Reconciler
from pipeline_approver.kube.api import KubeApi
from pipeline_approver.metrics import Metrics
from support.cases import NOW, RESOURCE, VIEW


class Desk:
    """A reconciler for one Pipeline, and its feed, whose connection nobody opens."""

    def __init__(self) -> None:
        self.cache, self.queue = Cache(), WorkQueue()
        self.connections = Connections(
            cache=self.cache,
            queue=self.queue,
            own=None,
            own_namespaces=None,
            read_secret=self._read_secret,
            open_client=lambda _: pytest.fail("nothing is opened"),
            spawn=self._spawn,
            interval_seconds=1,
            meter=Metrics(version="1", now=lambda: NOW, clock=time.monotonic, stuck_after_seconds=1),
        )
        self.reconciler = Reconciler(
            cache=self.cache,
            queue=self.queue,
            connections=self.connections,
            kube=KubeApi.__new__(KubeApi),
            rules=Rules(),
            now=lambda: NOW,
            may_begin=lambda: True,
            may_act=lambda: True,
            pace=lambda: asyncio.sleep(0),
            observer=lambda *_: None,
            count_call=lambda _: None,
            approve_timeout=datetime.timedelta(seconds=15),
        )

    @property
    def feed(self) -> Feed:
        return self.connections.find(ConnectionKey())

    async def _read_secret(self, namespace: str, name: str) -> dict[str, Any]:
        raise AssertionError

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        raise AssertionError


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    yield Desk()


async def test_a_program_cannot_be_read_without_a_connection_and_the_pass_ends(desk: Desk) -> None:
    """It once went on for ever, without letting anything else run."""
    desk.cache.observe(replace(RESOURCE, pipeline_name=VIEW.name))
    desk.feed.update(VIEW.name, VIEW, began=asyncio.get_running_loop().time())
    await desk.reconciler.reconcile(RESOURCE.key, Lane.BACKGROUND)
    assert len(desk.queue) == 0
