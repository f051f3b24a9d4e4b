"""The same cases on two servers: the in-memory one always, a real kube-apiserver by `make e2e`."""

import contextlib
import functools
import itertools
import json
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from pipeline_approver.sandbox import real
from pipeline_approver.sandbox.crd import read_crd
from pipeline_approver.sandbox.kube import KubeServer
from support.rawkube import GADGETS, WIDGETS, RawKube, until

STRANGER = "stranger"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Site:
    """A server that runs, and how to reach it."""

    url: str
    token: str
    stranger_token: str
    """Of a user who may do nothing."""
    kubeconfig: dict[str, object]
    memory: KubeServer | None


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[real.RealServer]:
    """A real kube-apiserver for the whole session, with the definition of the product."""
    server = real.RealServer(tmp_path_factory.mktemp("real"), users={STRANGER: ()})
    try:
        server.start()
        status, answer = server.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", read_crd())
        assert status == 201, answer
        yield server
    finally:
        server.stop()


@pytest.fixture
async def memory_server() -> AsyncIterator[KubeServer]:
    """The in-memory server, with the definition of the product and that of the conformance cases."""
    server = KubeServer()
    await server.start()
    server.put(read_crd())
    server.put(WIDGETS)
    server.put(GADGETS)
    yield server
    await server.stop()


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.e2e)])
def site(request: pytest.FixtureRequest) -> Site:
    """One of both."""
    if request.param == "real":
        server: real.RealServer = request.getfixturevalue("real_server")
        return Site(server.url, server.token(), server.token(STRANGER), server.kubeconfig(), None)
    memory: KubeServer = request.getfixturevalue("memory_server")
    memory.allow = lambda user, *_: user != STRANGER
    return Site(memory.url, "user:admin", f"user:{STRANGER}", memory.kubeconfig(), memory)


@pytest.fixture
async def memory(memory_server: KubeServer) -> AsyncIterator[RawKube]:
    """An administrator of the in-memory server, in a namespace of his own."""
    async with open_raw(Site(memory_server.url, "user:admin", "", {}, memory_server), "user:admin") as raw:
        memory_server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": raw.namespace}})
        yield raw


@pytest.fixture
async def api(site: Site) -> AsyncIterator[RawKube]:
    """An administrator of one of both, in a namespace of his own."""
    async with open_raw(site, site.token) as raw:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": raw.namespace}}
        answer = await raw.call("POST", "/api/v1/namespaces", manifest)
        assert answer.status == 201, answer.body
        await _define(raw)
        yield raw


@pytest.fixture
async def stranger(site: Site, api: RawKube) -> AsyncIterator[RawKube]:
    """A user in the same namespace who may do nothing."""
    async with open_raw(site, site.stranger_token, namespace=api.namespace) as raw:
        yield raw


@contextlib.asynccontextmanager
async def open_raw(site: Site, token: str, *, namespace: str = "") -> AsyncIterator[RawKube]:
    connector = aiohttp.TCPConnector(ssl=_trusting())
    async with aiohttp.ClientSession(connector=connector, read_bufsize=2**22) as session:
        async with session.get(f"{site.url}/version", headers={"Authorization": f"Bearer {token}"}) as response:
            said = await response.json()
        version = (int(said["major"]), int(said["minor"].rstrip("+")))
        name = namespace or f"case-{os.getpid()}-{next(_numbers)}"
        yield RawKube(session, site.url, token, namespace=name, version=version)


@functools.cache
def _trusting() -> ssl.SSLContext:
    """Servers of tests make their own certificates."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def _define(raw: RawKube) -> None:
    """The definitions of the cases, served."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for definition, served in ((WIDGETS, raw.all_widgets), (GADGETS, raw.gadgets)):
        answer = await raw.call("POST", path, definition)
        assert answer.status in (201, 409), answer.body

        async def is_served(served: str = served) -> bool:
            return (await raw.call("GET", served)).status == 200

        await until(is_served)


@pytest.fixture
def kubeconfig(site: Site, api: RawKube, tmp_path: Path) -> Path:
    """A kubeconfig file of an administrator, in the namespace of the case."""
    config = json.loads(json.dumps(site.kubeconfig))
    config["contexts"][0]["context"]["namespace"] = api.namespace
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    return path
