"""A front for a simulated Feldera that says something else of one pipeline, and leaves all others as they are."""

import json

import aiohttp
from aiohttp import web


class Spoiler:
    """For one name the rows come from a list, one after the other with every poll, until it has run out."""

    def __init__(self, url: str, name: str, rows: list[bytes]) -> None:
        self._behind = url
        self._name = name
        self._rows = rows
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self.polls = 0
        self.url = ""

    async def __aenter__(self) -> "Spoiler":
        self._session = aiohttp.ClientSession()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        assert self._session is not None
        await self._runner.cleanup()
        await self._session.close()

    @property
    def row(self) -> bytes | None:
        """What is said just now; None: the truth."""
        return self._rows[self.polls] if self.polls < len(self._rows) else None

    async def _answer(self, request: web.Request) -> web.Response:
        assert self._session is not None
        async with self._session.request(request.method, f"{self._behind}{request.raw_path}") as response:
            status, body = response.status, await response.read()
        row = self.row
        if request.path == "/v0/pipelines":
            self.polls += 1
            if row is not None:
                others = [json.dumps(one).encode() for one in json.loads(body) if one["name"] != self._name]
                body = b"[" + b",".join([others[0], row, *others[1:]]) + b"]"
        elif request.path == f"/v0/pipelines/{self._name}" and row is not None:
            body = row
        return web.Response(body=body, status=status, content_type="application/json")
