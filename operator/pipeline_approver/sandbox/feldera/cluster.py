"""The routes about the installation itself: configuration, session and health."""

from typing import Any

from aiohttp import web

from pipeline_approver.sandbox.feldera.clock import stamp
from pipeline_approver.sandbox.feldera.gate import Gate
from pipeline_approver.sandbox.feldera.world import VERSION, World

TENANT = "00000000-0000-0000-0000-000000000000"
_BUILD_KEYS = (
    "build_timestamp",
    "build_cpu",
    "build_os",
    "cargo_dependencies",
    "cargo_features",
    "cargo_debug",
    "cargo_opt_level",
    "cargo_target_triple",
    "rustc_version",
)


class ClusterRoutes:
    """Handlers that need no pipeline."""

    def __init__(self, *, world: World, gate: Gate) -> None:
        self.world = world
        self.gate = gate
        self.since = stamp()

    def table(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self.healthz),
            web.get("/v0/cluster_healthz", self.cluster_healthz),
            web.get("/v0/config", self.config),
            web.get("/v0/config/session", self.session),
        ]

    async def healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    async def cluster_healthz(self, _: web.Request) -> web.Response:
        healthy = self.world.healthy
        body: dict[str, Any] = {
            "all_healthy": healthy,
            "api": self._service(healthy=True),
            "compiler": self._service(healthy=True),
            "runner": self._service(healthy=healthy),
        }
        return web.json_response(body, status=200 if healthy else 503)

    def _service(self, *, healthy: bool) -> dict[str, Any]:
        return {
            "healthy": healthy,
            "message": "" if healthy else "does not answer",
            "unchanged_since": self.since,
            "checked_at": stamp(),
        }

    async def config(self, _: web.Request) -> web.Response:
        body: dict[str, Any] = {
            "posthog": "",
            "conceptualhq": "",
            "product_fruits": "",
            "edition": self.world.edition,
            "version": VERSION,
            "revision": "0" * 40,
            "runtime_revision": "0" * 40,
            "changelog_url": "",
            "license_validity": None,
            "update_info": None,
            "unstable_features": None,
            "build_info": dict.fromkeys(_BUILD_KEYS, ""),
            "build_source": "sandbox",
        }
        return web.json_response(body)

    async def session(self, request: web.Request) -> web.Response:
        role = self.gate.role(request)
        body: dict[str, Any] = {"tenant_id": TENANT, "tenant_name": "default", "role": role, "memberships": []}
        return web.json_response(body)
