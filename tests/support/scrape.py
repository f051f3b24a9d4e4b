"""What a replica says on its health port, read with Prometheus' own parser."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from support.stage import PATIENCE_SECONDS

PREFIX = "pipeline_approver_"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Scrape:
    """One answer of /metrics."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """The value of one series, by its name without our prefix."""
        return self.samples[PREFIX + name, frozenset(labels.items())]

    def series(self, name: str) -> dict[tuple[str, ...], float]:
        """All series of a name: the values of the labels, in the order of the labels' names, to the value."""
        return {
            tuple(value for _, value in sorted(labels)): number
            for (sample, labels), number in self.samples.items()
            if sample == PREFIX + name
        }


async def get(port: int, path: str, **headers: str) -> tuple[int, str, Any]:
    """Status, text and headers."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/{path}", headers=headers) as response,
    ):
        return response.status, await response.text(), response.headers


async def scrape(port: int) -> Scrape:
    """What Prometheus would read now."""
    status, text, _ = await get(port, "metrics")
    assert status == 200
    return Scrape(text)


async def scrape_until(port: int, is_reached: Callable[[Scrape], Any]) -> Scrape:
    """The first scrape that is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = await scrape(port)
            if is_reached(found):
                return found
            await asyncio.sleep(0.02)
