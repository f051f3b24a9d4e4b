"""What the kubelet and Prometheus ask, on one port: `/healthz`, `/readyz`, `/metrics`.

No answer asks Feldera or the API server: no restart of the operator heals their outage.
"""

import errno
from collections.abc import Awaitable, Callable

from aiohttp import web

CLOSING_SECONDS = 1.0


class PortUnusable(Exception):
    """Nothing can be served on the port; the message says why."""


class HealthServer:
    """Serves from `start` to `close`."""

    def __init__(
        self,
        port: int,
        *,
        find_illness: Callable[[], str],
        find_reason_to_wait: Callable[[], str],
        render_metrics: Callable[[str], Awaitable[tuple[bytes, str]]],
    ) -> None:
        """Two functions answer with what is wrong, or nothing; the third gets the Accept header."""
        self._port = port
        self._find_illness = find_illness
        self._find_reason_to_wait = find_reason_to_wait
        self._render_metrics = render_metrics
        application = web.Application()
        application.router.add_get("/healthz", self._answer_healthz)
        application.router.add_get("/readyz", self._answer_readyz)
        application.router.add_get("/metrics", self._answer_metrics)
        self._runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=CLOSING_SECONDS
        )

    async def start(self) -> None:
        """Listen on all addresses; raises PortUnusable."""
        await self._runner.setup()
        try:
            try:
                # No host: both families, since pods have one or the other.
                await web.TCPSite(self._runner, None, self._port).start()
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                await web.TCPSite(self._runner, "0.0.0.0", self._port).start()  # noqa: S104 - for the kubelet
        except OSError as error:
            await self._runner.cleanup()
            raise PortUnusable(
                "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            ) from None

    async def close(self) -> None:
        """Close the connections too: those that are kept alive would hold up the end of the process."""
        await self._runner.cleanup()

    async def _answer_healthz(self, _: web.Request) -> web.Response:
        # That it answers shows that the event loop turns.
        return _report(self._find_illness(), well="ok", status=500)

    async def _answer_readyz(self, _: web.Request) -> web.Response:
        return _report(self._find_reason_to_wait(), well="ready", status=503)

    async def _answer_metrics(self, request: web.Request) -> web.Response:
        body, content_type = await self._render_metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})


def _report(problem: str, *, well: str, status: int) -> web.Response:
    return web.Response(text=f"{problem or well}\n", status=status if problem else 200)
