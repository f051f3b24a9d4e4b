"""kopf as the informer and the process frame, and nothing more of it.

Raw events only: kopf then writes nothing to the objects, needs no finalizer, and keeps no state in annotations.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from pipeline_approver.core.resource import GROUP, PLURAL, VERSION
from pipeline_approver.engine.engine import Engine
from pipeline_approver.login import Login


class NoDiffBase(kopf.DiffBaseStorage):
    """Keeps nothing: raw events need no memory of what was handled. It also spares two deep copies per event."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        """No essence."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """Nothing was kept."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing."""


class NoProgress(kopf.ProgressStorage):
    """Keeps nothing."""

    def fetch(self, *, key: Any, body: kopf.Body) -> None:
        """Nothing was kept."""

    def store(self, *, key: Any, record: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        """Keep nothing."""

    def purge(self, *, key: Any, body: kopf.Body, patch: kopf.Patch) -> None:
        """Nothing to purge."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        """Never touch an object."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Nothing to clear."""
        return essence


def build_registry(
    engine: Engine,
    *,
    login: Login,
    startup: Callable[[], Awaitable[None]],
    cleanup: Callable[[], Awaitable[None]],
) -> kopf.OperatorRegistry:
    """The handlers, in a registry of their own."""
    registry = kopf.OperatorRegistry()

    def observe(event: kopf.RawEvent, **_: Any) -> None:
        engine.observe(deleted=event["type"] == "DELETED", manifest=event["object"])

    async def on_event(event: kopf.RawEvent, **_: Any) -> None:
        observe(event)

    async def on_startup(**_: Any) -> None:
        await startup()

    async def on_cleanup(**_: Any) -> None:
        await cleanup()

    async def on_login(**kwargs: Any) -> kopf.AiohttpSession | None:
        return await login(**kwargs)

    kopf.on.login(registry=registry)(on_login)
    kopf.on.startup(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(on_startup)
    kopf.on.cleanup(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(on_cleanup)
    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)(on_event)
    return registry


def build_settings() -> kopf.OperatorSettings:
    """kopf's settings; the reasons stand beside what is not obvious."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    # A worker task per object that rests for seconds after each event is most of kopf's memory at scale.
    settings.queueing.idle_timeout = 0.1
    settings.queueing.error_delays = (1, 2, 5, 10, 30, 60)
    settings.watching.chunk_size = 500
    settings.watching.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.persistence.finalizer = f"{GROUP}/never-used"
    # Below the pod's grace period.
    settings.process.ultimate_exiting_timeout = 25
    return settings
