"""The usual way: a kopf timer per resource that reads its pipeline, and approves when it waits and is annotated."""

import asyncio
import sys
from typing import Any

import httpx
import kopf

ANNOTATION = "pipeline-approver.io/approve"


def main(feldera: str, interval: float) -> None:
    registry = kopf.OperatorRegistry()
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    client: list[httpx.AsyncClient] = []

    async def start(**_: Any) -> None:
        client.append(httpx.AsyncClient(base_url=feldera, timeout=60, limits=httpx.Limits(max_connections=20)))

    async def look(name: str, annotations: Any, status: Any, patch: kopf.Patch, **_: Any) -> None:
        row = (await client[0].get(f"/v0/pipelines/{name}", params={"selector": "status"})).json()
        state = row["deployment_status"]
        if state == "AwaitingApproval" and annotations.get(ANNOTATION):
            await client[0].post(f"/v0/pipelines/{name}/approve")
        if status.get("state") != state:
            patch.status["state"] = state

    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)
    kopf.on.startup(registry=registry)(start)
    kopf.on.timer("pipeline-approver.io", "v1alpha1", "pipelines", interval=interval, registry=registry)(look)
    asyncio.run(kopf.operator(registry=registry, settings=settings, clusterwide=True))


main(sys.argv[1], float(sys.argv[2]))
