"""How kopf comes to the API server, and how its watches are counted.

kopf opens a watch anew without a word: its log tells of some causes and not of others, and no handler runs. What
sees every one is the HTTP session, for which kopf has a public place: a login may return a session of its own, and
aiohttp reports each request of it. The session is made from the same parts as kopf's own would be.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp
import kopf

from pipeline_approver.kube.api import FIELD_MANAGER
from pipeline_approver.kube.configuration import find_proxy


@dataclass(frozen=True, kw_only=True)
class Session(kopf.AiohttpSession):
    """Equal to another one with the same credentials: kopf gives up when it is offered again what was refused."""

    aiohttp_session: aiohttp.ClientSession = field(compare=False)
    made_from: kopf.ConnectionInfo = field(repr=False)


class Login:
    """Logs in with the official client's configuration, which understands exec plugins, unlike kopf's own loaders."""

    def __init__(self, *, on_watch_restart: Callable[[], None]) -> None:
        self._on_watch_restart = on_watch_restart
        self._watched: set[str] = set()
        self._sessions: list[aiohttp.ClientSession] = []

    async def __call__(self, **kwargs: Any) -> Session | None:
        """The answer to kopf's question for credentials."""
        # In a thread: an exec plugin may take its time.
        info = await asyncio.to_thread(kopf.login_via_client, **kwargs)
        if info is None:
            return None
        tracing = aiohttp.TraceConfig()
        tracing.on_request_start.append(self._on_request_start)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
            headers={"User-Agent": FIELD_MANAGER, **info.as_http_headers()},
            proxy=info.proxy_url or find_proxy(info.server),
            trace_configs=[tracing],
        )
        self._sessions = [*(other for other in self._sessions if not other.closed), session]
        return Session(server=info.server, priority=info.priority, aiohttp_session=session, made_from=info)

    async def aclose(self) -> None:
        """Close what kopf may have left open."""
        for session in self._sessions:
            await session.close()

    async def _on_request_start(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, request: aiohttp.TraceRequestStartParams
    ) -> None:
        if request.url.query.get("watch") != "true":
            return
        # One watch per namespace; the first one of each is no restart.
        if request.url.path in self._watched:
            self._on_watch_restart()
        self._watched.add(request.url.path)
