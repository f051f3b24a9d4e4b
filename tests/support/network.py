"""A network that lies: a TCP proxy in front of one server that can do to connections what networks do."""

import asyncio
import contextlib
import enum
import socket
import struct
from collections.abc import Callable
from pathlib import Path

PIECE = 65536


class Fault(enum.Enum):
    """What the network does from now on, to connections that exist and to new ones."""

    NONE = "nothing"
    REFUSED = "connections are refused"
    RESET = "connections are reset as soon as they say something"
    RESET_IN_BODY = "connections are reset in the middle of an answer's body"
    CLOSED_IN_BODY = "connections are closed in the middle of an answer's body"
    STALLED = "nothing moves, and later everything does"
    BLACK_HOLE = "connections are dead, and nobody is told; only new ones work when it is over"
    HALF_CLOSED = "the server's side is closed, and the connection stays open"
    GARBLED = "bytes are changed on the way"
    UNKNOWN_NAME = "the name of the server is not known, and connections to it are reset"
    HTML_502 = "a proxy answers for the server: 502 with a page"
    HTML_200 = "a proxy answers for the server: 200 with a page"


_PAGE = b"<html><head><title>Portal</title></head><body>please log in</body></html>"
_SPOILT = (Fault.RESET, Fault.RESET_IN_BODY, Fault.CLOSED_IN_BODY, Fault.HALF_CLOSED, Fault.GARBLED)


class Network:
    """Between the operator and one server."""

    def __init__(self, port: int, *, name: Path | None = None) -> None:
        """`port` is the server's; `name` is the file that makes its name known, see `support.names`."""
        self._target = "127.0.0.1", port
        self._name = name
        self.port = 0
        self.fault = Fault.NONE
        self.hits = 0
        """How many connections the present fault has hit."""
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._moved = asyncio.Event()

    async def __aenter__(self) -> "Network":
        await self._listen()
        self._make_known()
        return self

    async def __aexit__(self, *_: object) -> None:
        # Whoever still comes in is cut.
        self.fault = Fault.REFUSED
        await self._close()
        self.cut()
        # What waits for the network to move would wait for ever.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def set(self, fault: Fault) -> None:
        """Change what the network does."""
        was, self.fault, self.hits = self.fault, fault, 0
        self._make_known()
        for link in list(self._links):
            if was is Fault.BLACK_HOLE:
                link.is_dead = True
            elif fault not in (Fault.NONE, Fault.STALLED, Fault.BLACK_HOLE, *_SPOILT) or was is Fault.HALF_CLOSED:
                self.hits += 1
                link.cut()
        self._moved.set()
        self._moved = asyncio.Event()
        if fault is Fault.REFUSED:
            await self._close()
        elif self._server is None:
            await self._listen()

    def cut(self) -> None:
        """Reset every connection, once."""
        for link in list(self._links):
            link.cut()

    async def moves(self) -> None:
        """Wait until the network does something else."""
        await self._moved.wait()

    def _make_known(self) -> None:
        if self._name is not None and self.fault is Fault.UNKNOWN_NAME:
            self._name.unlink(missing_ok=True)
        elif self._name is not None:
            self._name.touch()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._start, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _start(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._accept(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.serve(*self._target)
        except* (OSError, asyncio.IncompleteReadError):
            link.cut()
        finally:
            self._links.discard(link)
            link.close()


class _Link:
    """One connection through the network."""

    def __init__(self, network: Network, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._network = network
        self._reader = reader
        self._writer = writer
        self._upstream: asyncio.StreamWriter | None = None
        self._hit = False
        self.is_dead = False
        """Fallen into the black hole: it never moves again."""

    async def serve(self, host: str, port: int) -> None:
        """Carry both directions until both have ended."""
        if self._network.fault in (Fault.REFUSED, Fault.UNKNOWN_NAME):
            # It was made just before, and only its acceptance comes now.
            self.cut()
            return
        if self._network.fault in (Fault.HTML_502, Fault.HTML_200):
            await self._answer_for_server(502 if self._network.fault is Fault.HTML_502 else 200)
            return
        reader, self._upstream = await asyncio.open_connection(host, port)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._carry(self._reader, self._upstream, self._up))
            both.create_task(self._carry(reader, self._writer, self._down))

    def cut(self) -> None:
        """Reset both sides."""
        for writer in (self._writer, self._upstream):
            if writer is not None and not writer.is_closing():
                _reset(writer)

    def close(self) -> None:
        """Close what is left open."""
        for writer in (self._writer, self._upstream):
            if writer is not None:
                writer.close()

    async def _carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, treat: Callable[[bytes], bytes | None]
    ) -> None:
        while piece := await source.read(PIECE):
            while self.is_dead or self._network.fault in (Fault.STALLED, Fault.BLACK_HOLE):
                self._count()
                await self._network.moves()
            treated = treat(piece)
            if treated is None:
                return
            sink.write(treated)
            await sink.drain()
        if not self.is_dead:
            with contextlib.suppress(OSError):
                sink.write_eof()

    def _up(self, piece: bytes) -> bytes | None:
        if self._network.fault is Fault.RESET:
            self._count()
            self.cut()
            return None
        return piece

    def _down(self, piece: bytes) -> bytes | None:
        fault = self._network.fault
        if fault not in _SPOILT:
            return piece
        self._count()
        match fault:
            case Fault.RESET:
                self.cut()
                return None
            case Fault.RESET_IN_BODY | Fault.CLOSED_IN_BODY:
                self._writer.write(piece[: _find_body(piece)])
                if fault is Fault.RESET_IN_BODY:
                    # What was written leaves first: the loop writes at once where the socket has room.
                    self.cut()
                else:
                    self.close()
                return None
            case Fault.HALF_CLOSED:
                with contextlib.suppress(OSError):
                    self._writer.write_eof()
                return None
        return bytes(byte ^ 0x20 for byte in piece)

    async def _answer_for_server(self, status: int) -> None:
        await self._reader.readuntil(b"\r\n\r\n")
        self._count()
        head = f"HTTP/1.1 {status} Portal\r\nContent-Type: text/html\r\nContent-Length: {len(_PAGE)}\r\n"
        self._writer.write(f"{head}Connection: close\r\n\r\n".encode() + _PAGE)
        await self._writer.drain()

    def _count(self) -> None:
        self._network.hits += not self._hit
        self._hit = True


def _find_body(piece: bytes) -> int:
    """A place in the middle of the body, or of whatever this is."""
    head = piece.find(b"\r\n\r\n") + 4
    return (head + len(piece)) // 2


def _reset(writer: asyncio.StreamWriter) -> None:
    link: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
