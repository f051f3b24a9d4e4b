"""Background writes are made at once up to a number, and then at a rate."""

import asyncio

from pipeline_approver.engine.pacer import Pacer
from support.virtual import in_virtual_time


@in_virtual_time
async def test_so_many_go_at_once_and_the_rest_at_the_rate() -> None:
    loop, pacer = asyncio.get_running_loop(), Pacer(rate=10, burst=5)
    await asyncio.sleep(100)

    async def measure(count: int) -> list[float]:
        began, times = loop.time(), []
        for _ in range(count):
            await pacer.wait()
            times.append(round(loop.time() - began, 2))
        return times

    assert await measure(8) == [0, 0, 0, 0, 0, 0.1, 0.2, 0.3]
    await asyncio.sleep(0.2)
    assert await measure(4) == [0, 0, 0.1, 0.2]
    await asyncio.sleep(3600)
    assert await measure(6) == [0, 0, 0, 0, 0, 0.1]
