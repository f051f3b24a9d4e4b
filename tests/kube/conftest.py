"""The operator's client of the Kubernetes API, against the in-memory server and servers that a test makes up."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from pipeline_approver.kube.api import KubeApi
from pipeline_approver.sandbox.crd import read_crd
from pipeline_approver.sandbox.kube import KubeServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[KubeApi]]


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., KubeApi]]:
    """Clients of a url."""
    opened: list[KubeApi] = []

    def open_client(url: str, *, token: str | None = None, **options: Any) -> KubeApi:
        configuration = client.Configuration()
        configuration.host = url
        if token is not None:
            configuration.api_key["BearerToken"] = f"Bearer {token}"
        opened.append(KubeApi(configuration, **options))
        return opened[-1]

    yield open_client
    for kube in opened:
        await kube.aclose()


@pytest.fixture
async def serve(connect: Callable[..., KubeApi]) -> AsyncIterator[Any]:
    """A server of the test's own, and a client of it."""
    runners: list[web.AppRunner] = []

    async def start(handler: Handler, **options: Any) -> KubeApi:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        return connect(f"http://127.0.0.1:{runner.addresses[0][1]}", **options)

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def server() -> AsyncIterator[KubeServer]:
    """The in-memory API with our definition in it."""
    server = KubeServer()
    await server.start()
    server.put(read_crd())
    yield server
    await server.stop()


@pytest.fixture
def kube(server: KubeServer, connect: Callable[..., KubeApi]) -> KubeApi:
    """A client of the in-memory API."""
    return connect(server.url)
