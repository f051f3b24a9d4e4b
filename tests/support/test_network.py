"""The network that lies, on its own: what it leaves behind would be a fault of some other test."""

import asyncio
import gc

import pytest

from support.network import Fault, Network
from support.stage import wait_until


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize("is_over", [False, True], ids=["during", "after"])
def test_a_network_that_ends_leaves_nothing_behind(fault: Fault, is_over: bool) -> None:
    async def use() -> set[str]:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server, Network(server.sockets[0].getsockname()[1]) as network:
            reader, writer = await asyncio.open_connection("127.0.0.1", network.port)
            writer.write(b"before\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            await network.set(fault)
            writer.write(b"during\r\n\r\n")
            await wait_until(lambda: network.hits or fault is Fault.NONE)
            if is_over:
                await network.set(Fault.NONE)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        return {task.get_coro().__qualname__ for task in left} - {echo.__qualname__}

    assert asyncio.run(use()) == set()
    # What it left would be told of now, not in the middle of some other test.
    gc.collect()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(100):
            writer.write(piece)
    except OSError:
        pass
    finally:
        writer.close()
