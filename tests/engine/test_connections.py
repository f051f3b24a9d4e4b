"""Connections are served independently of each other, whatever happens to one of them."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from pipeline_approver.core.resource import parse_resource
from pipeline_approver.engine.cache import Cache, ConnectionKey
from pipeline_approver.engine.connections import Connections
from pipeline_approver.engine.queue import WorkQueue
from pipeline_approver.engine.supervisor import Supervisor
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import Connection
from pipeline_approver.metrics import Metrics
from support.feldera import build_secret
from support.stage import wait_until

SECRETS = {"good": "http://good", "bad": "http://bad"}


class Unusual(httpx.AsyncBaseTransport):
    """A transport with a defect for one host."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._url == SECRETS["bad"]:
            raise RuntimeError("a defect of a library")
        return httpx.Response(200, json=[])


@pytest.fixture
async def connections() -> AsyncIterator[tuple[Connections, Supervisor]]:
    cache, supervisor = Cache(), Supervisor(on_death=lambda _: None)
    for name in SECRETS:
        metadata = {"uid": name, "namespace": "shop", "name": name}
        cache.observe(parse_resource({"metadata": metadata, "spec": {"connectionSecretRef": {"name": name}}}))

    async def read_secret(_: str, name: str) -> dict[str, Any]:
        return build_secret(url=SECRETS[name])

    def open_client(connection: Connection) -> FelderaClient:
        return FelderaClient(connection, transport=Unusual(connection.url))

    yield (
        Connections(
            cache=cache,
            queue=WorkQueue(),
            own=None,
            own_namespaces=None,
            read_secret=read_secret,
            open_client=open_client,
            spawn=supervisor.spawn,
            interval_seconds=0.01,
            meter=Metrics(version="1", now=lambda: None, clock=time.monotonic, stuck_after_seconds=1),  # type: ignore[arg-type,return-value]
        ),
        supervisor,
    )
    await supervisor.close()


async def test_a_defect_in_one_connection_is_reported_there_and_ends_nothing(
    connections: tuple[Connections, Supervisor], caplog: pytest.LogCaptureFixture
) -> None:
    found, supervisor = connections
    feeds = {name: found.find(ConnectionKey("shop", name)) for name in SECRETS}
    found.start()
    problem = await wait_until(lambda: feeds["bad"].problem, "the problem is reported")
    assert problem.reason == "InternalError"
    await wait_until(lambda: feeds["good"].observe("orders").absent, "the other connection is polled")
    assert not supervisor.dead
    assert "a defect of a library" in caplog.text
    assert len([task for task in asyncio.all_tasks() if task.get_name().startswith("feed ")]) == len(SECRETS)
