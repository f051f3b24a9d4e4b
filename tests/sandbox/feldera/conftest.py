"""A simulated Feldera on a loopback port, and an HTTP client for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import httpx
import pytest

from pipeline_approver.sandbox.feldera import FelderaServer

T = TypeVar("T")
NEVER = 3600.0
"""Seconds that no test lives to see: a phase with this step stays, an observation with this lag does not come."""


class Site:
    """One server with a client, and the words that tests about it need."""

    def __init__(self, server: FelderaServer, client: httpx.AsyncClient) -> None:
        self.server = server
        self.client = client

    async def get(self, name: str, selector: str = "status") -> dict[str, Any]:
        response = await self.client.get(f"/v0/pipelines/{name}", params={"selector": selector})
        assert response.status_code == 200, response.text
        body = response.json()
        assert isinstance(body, dict)
        return body

    async def post(self, name: str, action: str, **params: str) -> httpx.Response:
        return await self.client.post(f"/v0/pipelines/{name}/{action}", params=params)

    async def status(self, name: str) -> str:
        return str((await self.get(name))["deployment_status"])

    async def until_row(self, name: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async def reached() -> dict[str, Any] | None:
            row = await self.get(name)
            return row if wanted(row) else None

        return await until(reached)

    async def until_status(self, name: str, wanted: str) -> dict[str, Any]:
        return await self.until_row(name, lambda row: row["deployment_status"] == wanted)

    async def until_checkpoint(self, name: str, number: int) -> dict[str, Any]:
        """The status in which this number is written or has failed."""

        async def reached() -> dict[str, Any] | None:
            status = (await self.client.get(f"/v0/pipelines/{name}/checkpoint_status")).json()
            assert set(status) == {"success", "failure"}
            failed = (status["failure"] or {}).get("sequence_number")
            return status if number in {status["success"], failed} else None

        return await until(reached)

    async def compiled(self, name: str, program: str) -> dict[str, Any]:
        """Create a pipeline, and wait until it is compiled."""
        response = await self.client.post("/v0/pipelines", json={"name": name, "program_code": program})
        assert response.status_code == 201, response.text
        return await self.until_row(name, lambda row: row["program_status"] == "Success")


async def until(probe: Callable[[], Awaitable[T | None]]) -> T:
    """Poll until there is an answer; the deadline is a safety net and no statement about speed."""
    async with asyncio.timeout(20):
        while True:
            answer = await probe()
            if answer:
                return answer
            await asyncio.sleep(0.01)


@pytest.fixture
def never() -> float:
    return NEVER


@pytest.fixture
async def site() -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Start servers with the given options; they are stopped at the end of the test."""
    opened: list[Site] = []

    async def start(*, headers: dict[str, str] | None = None, **options: Any) -> Site:
        server = FelderaServer(**({"lag_seconds": 0.0, "step_seconds": 0.0} | options))
        await server.start()
        opened.append(Site(server, httpx.AsyncClient(base_url=server.url, headers=headers or {})))
        return opened[-1]

    yield start
    for one in opened:
        await one.client.aclose()
        await one.server.stop()
