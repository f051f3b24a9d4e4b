"""Rolling out a program to Feldera, as a CI job does it over the REST API."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

BEFORE = """\
CREATE TABLE orders (id BIGINT PRIMARY KEY, region VARCHAR, total DECIMAL(10, 2));
CREATE MATERIALIZED VIEW totals WITH ('connectors' = '[{"name": "kafka_out"}]')
  AS SELECT region, SUM(total) AS total FROM orders GROUP BY region;
"""
AFTER = """\
CREATE TABLE orders (id BIGINT PRIMARY KEY, region VARCHAR, total DECIMAL(10, 2));
CREATE MATERIALIZED VIEW totals WITH ('connectors' = '[{"name": "kafka_out"}]')
  AS SELECT region, SUM(total) AS total, COUNT(*) AS orders FROM orders GROUP BY region;
CREATE MATERIALIZED VIEW big_orders AS SELECT * FROM orders WHERE total > 1000;
"""


class Feldera:
    """One pipeline behind a Feldera API server."""

    def __init__(self, url: str, name: str) -> None:
        self._client = httpx.AsyncClient(trust_env=False)
        self._url = f"{url}/v0/pipelines/{name}"

    async def __aenter__(self) -> "Feldera":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def edit(self, **fields: Any) -> None:
        """Stop it and change it; it is compiled afterwards."""
        await self._send("POST", "/stop", params={"force": "true"})
        await self.reach(lambda row: row["deployment_status"] == "Stopped")
        await self._send("PATCH", "", json=fields)
        await self.reach(lambda row: row["program_status"] == "Success")

    async def start(self, **flags: str) -> None:
        """Start it; where something has changed since its checkpoint, it will wait for approval."""
        await self._send("POST", "/start", params={"bootstrap_policy": "await_approval", **flags})

    async def reach(self, is_reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until its row is so."""
        async with asyncio.timeout(30):
            while True:
                row: dict[str, Any] = await self._send("GET", "", params={"selector": "status"})
                if is_reached(row):
                    return row
                await asyncio.sleep(0.02)

    async def find_diff(self, **proposal: Any) -> dict[str, Any]:
        """What Feldera says that a program would change."""
        return await self._send("POST", "/diff", json=proposal)

    async def _send(self, method: str, path: str, **arguments: Any) -> Any:
        answer = await self._client.request(method, self._url + path, **arguments)
        assert answer.is_success, answer.text
        return answer.json()
