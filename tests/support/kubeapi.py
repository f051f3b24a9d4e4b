"""What tests of the client of the Kubernetes API have in common."""

import pytest
from aiohttp import web

from pipeline_approver.kube import errors
from pipeline_approver.kube.api import KubeApi

PIPELINE = {"kind": "Pipeline", "metadata": {"uid": "u", "namespace": "default", "name": "orders"}}


def refuse(status: int, reason: str, message: str = "because", **headers: str) -> web.Response:
    """A refusal as Kubernetes words it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    return web.json_response({**body, "metadata": {}, "code": status}, status=status, headers=headers)


async def call_every_method(kube: KubeApi) -> list[errors.KubeError]:
    """The error of each method of the client; every one has to raise one."""
    raised = []
    for call in (
        kube.list_pipelines(None),
        kube.list_pipelines("default"),
        kube.get_pipeline("default", "orders"),
        kube.patch_status("default", "orders", resource_version="1", status={"state": "x"}),
        kube.read_secret("default", "feldera"),
        kube.get_event("default", "e"),
        kube.create_event("default", {}),
        kube.patch_event("default", "e", {}),
        kube.get_lease("default", "l"),
        kube.create_lease("default", {}),
        kube.update_lease("default", {"metadata": {"name": "l"}}),
    ):
        with pytest.raises(errors.KubeError) as caught:
            await call
        raised.append(caught.value)
    return raised
