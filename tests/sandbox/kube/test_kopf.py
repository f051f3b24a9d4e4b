"""kopf with all that it writes: finalizers, progress, diffs. The operator of the product needs less than that."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import kopf

from pipeline_approver.sandbox.kube import KubeServer
from support.rawkube import GROUP, RawKube, until

Seen = list[tuple[str, str]]


def connect(kubeconfig: dict[str, Any]) -> kopf.ConnectionInfo:
    cluster = kubeconfig["clusters"][0]["cluster"]
    user = kubeconfig["users"][0]["user"]
    return kopf.ConnectionInfo(
        server=cluster["server"], insecure=cluster.get("insecure-skip-tls-verify", False), token=user["token"]
    )


@contextlib.asynccontextmanager
async def operator(kubeconfig: dict[str, Any], namespace: str) -> AsyncIterator[Seen]:
    """A running operator; what its handlers saw, as (handler, detail).

    No fixture: as it ends, kopf cancels every task that began after it, and the end of a fixture is such a task.
    """
    seen: Seen = []
    registry = kopf.OperatorRegistry()

    def note(what: str) -> Callable[..., None]:
        def handler(*, name: str, reason: str = "", new: Any = None, **_: Any) -> None:
            seen.append((what, name if what != "field" else f"{name}={new}"))

        handler.__name__ = what
        return handler

    async def create(*, name: str, patch: kopf.Patch, **_: Any) -> None:
        seen.append(("create", name))
        patch.status["phase"] = "Made"

    async def retried(*, name: str, retry: int, **_: Any) -> None:
        if retry == 0:
            raise kopf.TemporaryError("once more", delay=0.1)
        seen.append(("retried", name))

    kopf.on.login(registry=registry)(lambda **_: connect(kubeconfig))
    kopf.on.create(GROUP, "v1", "widgets", registry=registry)(create)
    kopf.on.create(GROUP, "v1", "widgets", registry=registry)(retried)
    kopf.on.update(GROUP, "v1", "widgets", registry=registry)(note("update"))
    kopf.on.field(GROUP, "v1", "widgets", registry=registry, field="spec.size")(note("field"))
    kopf.on.delete(GROUP, "v1", "widgets", registry=registry)(note("delete"))
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    stop, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(
        kopf.operator(registry=registry, settings=settings, namespaces=[namespace], stop_flag=stop, ready_flag=ready)
    )
    await ready.wait()
    try:
        yield seen
    finally:
        stop.set()
        await running


async def test_every_handler_of_kopf_runs_in_order(site: Any, api: RawKube) -> None:
    async with operator(site.kubeconfig, api.namespace) as seen:

        async def saw(*what: tuple[str, str]) -> bool:
            return set(what) <= set(seen)

        async def is_settled() -> bool:
            found = (await api.get("a")).object
            annotations = found["metadata"].get("annotations") or {}
            return found.get("status") == {"phase": "Made"} and list(annotations) == [
                "kopf.zalando.org/last-handled-configuration"
            ]

        async def is_gone() -> bool:
            return (await api.get("a")).status == 404

        await api.create("a")
        await until(lambda: saw(("create", "a"), ("retried", "a"), ("field", "a=1")))
        await until(is_settled)
        assert (await api.get("a")).object["metadata"]["finalizers"] == ["kopf.zalando.org/KopfFinalizerMarker"]
        await api.merge("a", {"spec": {"size": 2}})
        await until(lambda: saw(("update", "a"), ("field", "a=2")))
        await api.delete("a")
        await until(lambda: saw(("delete", "a")))
        await until(is_gone)
        assert [what for what, _ in seen].count("create") == 1
        assert [what for what, _ in seen].count("update") == 1


async def test_kopf_goes_on_after_its_watches_expired_or_were_cut(memory_server: KubeServer, memory: RawKube) -> None:
    async with operator(memory_server.kubeconfig(), memory.namespace) as seen:
        for name, trouble in (("a", memory_server.expire_watches), ("b", memory_server.cut_watches)):
            trouble()
            await memory.create(name)

            async def saw(name: str = name) -> bool:
                return ("create", name) in seen

            await until(saw)
