"""API keys and their roles, TLS, health, and the control over HTTP."""

import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from pipeline_approver.sandbox.feldera import FelderaServer, pipeline_diff

Start = Callable[..., Awaitable[Any]]
KEYS = {"apikey:reader": "read", "apikey:writer": "write"}


async def test_keys_have_roles_and_failures_have_feldera_s_shapes(site: Start) -> None:
    here = await site(api_keys=KEYS)
    here.server.add("orders", state="AwaitingApproval")

    async def approve(**headers: str) -> httpx.Response:
        response = await here.client.post("/v0/pipelines/orders/approve", headers=headers)
        assert isinstance(response, httpx.Response)
        return response

    missing = await approve()
    assert (missing.status_code, missing.content) == (401, b"")
    assert "www-authenticate" in missing.headers
    wrong = await approve(Authorization="Bearer apikey:other")
    assert (wrong.status_code, wrong.json()["error_code"]) == (401, "AuthenticationFailed")
    assert wrong.headers["content-type"].startswith("text/plain")
    reader = await approve(Authorization="Bearer apikey:reader")
    assert (reader.status_code, reader.json()["error_code"]) == (403, "InsufficientPermissions")
    assert here.server.approvals == []
    assert (await approve(Authorization="Bearer apikey:writer")).status_code == 200
    # A key that is taken away works no longer.
    del here.server.gate.api_keys["apikey:writer"]
    assert (await approve(Authorization="Bearer apikey:writer")).status_code == 401


async def test_the_session_tells_the_role(site: Start) -> None:
    closed = await site(api_keys=KEYS, headers={"Authorization": "Bearer apikey:reader"})
    assert (await closed.client.get("/v0/config/session")).json()["role"] == "read"
    opened = await site()
    session = (await opened.client.get("/v0/config/session")).json()
    assert (session["role"], session["tenant_name"]) == ("admin", "default")


async def test_health_needs_no_key_and_a_dead_runner_shows_in_the_cluster(site: Start) -> None:
    here = await site(api_keys=KEYS)
    assert (await here.client.get("/healthz")).status_code == 200
    headers = {"Authorization": "Bearer apikey:reader"}
    assert (await here.client.get("/v0/cluster_healthz", headers=headers)).status_code == 200
    here.server.world.healthy = False
    sick = await here.client.get("/v0/cluster_healthz", headers=headers)
    assert (sick.status_code, sick.json()["all_healthy"], sick.json()["runner"]["healthy"]) == (503, False, False)


async def test_the_url_says_https_with_a_certificate() -> None:
    server = FelderaServer(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert server.url.startswith("https://127.0.0.1:")


async def test_another_process_can_do_the_same_over_http(site: Start) -> None:
    here = await site(api_keys=KEYS)
    writer = {"Authorization": "Bearer apikey:writer"}
    made = await here.client.post("/sandbox/pipelines", json={"name": "orders", "program": "CREATE TABLE t (a INT);"})
    assert made.status_code == 201
    diff = pipeline_diff(added_views=["v"])
    asked = await here.client.post("/sandbox/pipelines/orders/ask", json={"diff": diff, "silent": True})
    deployment = asked.json()["deployment_id"]
    row = (await here.client.get("/v0/pipelines/orders?selector=status", headers=writer)).json()
    assert (row["deployment_id"], row["silent_bootstrap"]) == (deployment, True)
    fault = {"match": ["POST", "approve"], "kind": "status", "status": 502, "times": None}
    assert (await here.client.post("/sandbox/faults", json=fault)).status_code == 201
    assert (await here.client.post("/v0/pipelines/orders/approve", headers=writer)).status_code == 502
    assert (await here.client.delete("/sandbox/faults")).status_code == 200
    flap = await here.client.post("/sandbox/pipelines/orders/set_observed", json={"status": "Unavailable"})
    assert flap.status_code == 200
    assert (await here.client.post("/v0/pipelines/orders/approve", headers=writer)).status_code == 503
    await here.client.post("/sandbox/pipelines/orders/thaw")
    assert (await here.client.post("/v0/pipelines/orders/approve", headers=writer)).status_code == 200
    [approval] = (await here.client.get("/sandbox/approvals")).json()
    assert (approval["deployment_id"], approval["effective"]) == (deployment, True)
    counts = (await here.client.get("/sandbox/counts")).json()
    assert {"method": "POST", "route": "/v0/pipelines/{name}/approve", "selector": "", "count": 3} in counts
    assert (await here.client.get("/sandbox/stops")).json() == []


async def test_the_control_explains_wrong_arguments(site: Start) -> None:
    here = await site()
    for path, body in (
        ("/sandbox/pipelines", {"name": "not valid"}),
        ("/sandbox/pipelines", {"name": "orders", "colour": "blue"}),
        ("/sandbox/faults", {"kind": "explode"}),
    ):
        response = await here.client.post(path, json=body)
        assert (response.status_code, response.json()["error_code"]) == (400, "InvalidArguments")
    assert (await here.client.post("/sandbox/pipelines/nobody/ask")).status_code == 404
    assert here.server.pipelines == {}
