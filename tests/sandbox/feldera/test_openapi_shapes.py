"""What the simulated server says is what Feldera's own description of its API describes, but for known deviations."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import jsonschema
import pytest

from pipeline_approver.sandbox.feldera import pipeline_diff
from pipeline_approver.sandbox.feldera.cluster import ClusterRoutes
from pipeline_approver.sandbox.feldera.routes import PipelineRoutes
from support.openapi import DESCRIBED_VERSION, UNDESCRIBED_KEYS, UNDESCRIBED_ROUTES, Description, load_description

Start = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
def description() -> Description:
    return load_description()


def test_the_description_is_of_the_version_whose_deviations_are_listed(description: Description) -> None:
    assert description.document["info"]["version"] == DESCRIBED_VERSION


async def test_pipelines_in_all_states_look_as_described(site: Start, description: Description) -> None:
    here = await site()
    program = """
        CREATE TABLE t (a INT NOT NULL, "B" VARCHAR(10)) WITH ('connectors' =
            '[{"name": "in", "transport": {"name": "url_input", "config": {"path": "http://localhost/x"}}}]');
        CREATE MATERIALIZED VIEW v AS SELECT a FROM t;
    """
    for state in ("Running", "Paused", "Stopped", "AwaitingApproval", "Initializing", "Bootstrapping", "Standby"):
        here.server.add(state, program=program, state=state, tags=["a"])
    here.server.add("broken", state="AwaitingApproval", diff=pipeline_diff(error="no IR"))
    here.server.add("flap").set_observed("Unavailable")
    here.server.add("new", state="Stopped", checkpointed=False)
    failed = here.server.add("failed", state="AwaitingApproval")
    failed.fail_after_approval("no")
    description.check(await here.post("failed", "approve"))
    await here.until_row("failed", lambda row: row["deployment_error"] is not None)
    for selector in ("status", "status_with_connectors", "all"):
        response = await here.client.get("/v0/pipelines", params={"selector": selector})
        description.check(response)
        for row in response.json():
            assert set(row) - description.keys("PipelineSelectedInfo") == set(UNDESCRIBED_KEYS)
        description.check(await here.client.get("/v0/pipelines/Running", params={"selector": selector}))
    waiting = await here.get("AwaitingApproval")
    diff = waiting["deployment_runtime_status_details"]["approval_diff"]
    description.validate(diff, {"$ref": "#/components/schemas/PipelineDiff"})
    assert set(diff) == description.keys("PipelineDiff")


async def test_the_whole_story_is_as_described(site: Start, description: Description) -> None:
    here = await site()
    path = "/v0/pipelines/orders"
    body = {"name": "orders", "program_code": "CREATE TABLE t (a INT);"}
    created = await here.client.post("/v0/pipelines", json=body)
    description.check(created)
    assert set(created.json()) <= description.keys("PipelineInfo")
    description.check(await here.client.post("/v0/pipelines", json=body))
    description.check(await here.client.put(path, json=body | {"description": "d"}))
    await here.until_row("orders", lambda row: row["program_status"] == "Success")
    description.check(await here.client.post(path + "/diff", json={"program_code": "CREATE TABLE u (a INT);"}))
    description.check(await here.post("orders", "start"))
    await here.until_status("orders", "Running")
    description.check(await here.post("orders", "checkpoint"))
    await here.until_checkpoint("orders", 0)
    for part in ("checkpoint_status", "checkpoints", "stats"):
        description.check(await here.client.get(f"{path}/{part}"))
    description.check(await here.post("orders", "pause"))
    description.check(await here.post("orders", "resume"))
    description.check(await here.post("orders", "activate"))
    description.check(await here.client.patch(path, json={"program_code": "CREATE TABLE u (a INT);"}))
    description.check(await here.post("orders", "stop", force="true"))
    await here.until_status("orders", "Stopped")
    description.check(await here.client.patch(path, json={"program_code": "CREATE TABLE u (a INT);"}))
    description.check(await here.post("orders", "update_runtime"))
    description.check(await here.post("orders", "dismiss_error"))
    description.check(await here.post("orders", "start"))
    await here.until_status("orders", "AwaitingApproval")
    description.check(await here.post("orders", "checkpoint"))
    description.check(await here.post("orders", "approve"))
    await here.until_status("orders", "Running")
    description.check(await here.post("orders", "stop", force="true"))
    await here.until_status("orders", "Stopped")
    description.check(await here.post("orders", "clear"))
    await here.until_row("orders", lambda row: row["storage_status"] == "Cleared")
    description.check(await here.post("orders", "clear"))
    description.check(await here.client.delete(path))


async def test_refusals_are_as_described(site: Start, description: Description) -> None:
    here = await site(edition="Open source")
    here.server.add("stopped", state="Stopped")
    here.server.add("waiting", state="AwaitingApproval")
    for name in ("nobody", "stopped"):
        for action in ("approve", "checkpoint", "pause"):
            description.check(await here.post(name, action))
    both = {"silent_bootstrap": "true", "concurrent_bootstrap": "true"}
    description.check(await here.post("waiting", "approve", **both))
    description.check(await here.post("waiting", "stop"))
    description.check(await here.client.delete("/v0/pipelines/waiting"))
    here.server.pipelines["waiting"].set_observed("Unavailable")
    description.check(await here.post("waiting", "approve"))
    here.server.pipelines["waiting"].thaw()
    mismatch = {"incarnation_uuid": "00000000-0000-0000-0000-000000000000"}
    response = await here.client.get("/v0/pipelines/waiting/checkpoint_status", params=mismatch)
    assert response.status_code == 400
    description.check(response)
    guarded = await site(api_keys={"apikey:r": "read"}, approve_style="documented")
    for key, status in (("apikey:r", 403), ("apikey:x", 401)):
        headers = {"Authorization": f"Bearer {key}"}
        response = await guarded.client.post("/v0/pipelines/waiting/approve", headers=headers)
        assert response.status_code == status
        description.check(response)


async def test_the_installation_is_as_described(site: Start, description: Description) -> None:
    here = await site()
    for path in ("/v0/config", "/v0/config/session", "/v0/cluster_healthz"):
        description.check(await here.client.get(path))
    here.server.world.healthy = False
    description.check(await here.client.get("/v0/cluster_healthz"))
    here.server.add("orders", state="AwaitingApproval")
    here.server.world.approve_style = "documented"
    response = await here.post("orders", "approve")
    assert response.status_code == 202
    description.check(response)


PROGRAM = {"program_code": "CREATE TABLE t (a INT);"}

# Every route of the simulated server: a request that it answers well.
ROUTES: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/healthz"): {},
    ("GET", "/v0/cluster_healthz"): {},
    ("GET", "/v0/config"): {},
    ("GET", "/v0/config/session"): {},
    ("GET", "/v0/pipelines"): {},
    ("POST", "/v0/pipelines"): {"json": {"name": "new", **PROGRAM}},
    ("GET", "/v0/pipelines/{name}"): {},
    ("PUT", "/v0/pipelines/{name}"): {"name": "stopped", "json": {"name": "stopped", **PROGRAM}},
    ("PATCH", "/v0/pipelines/{name}"): {"name": "stopped", "json": PROGRAM},
    ("DELETE", "/v0/pipelines/{name}"): {"name": "cleared"},
    ("POST", "/v0/pipelines/{name}/activate"): {"name": "standby"},
    ("POST", "/v0/pipelines/{name}/approve"): {"name": "waiting"},
    ("POST", "/v0/pipelines/{name}/checkpoint"): {},
    ("GET", "/v0/pipelines/{name}/checkpoint_status"): {},
    ("GET", "/v0/pipelines/{name}/checkpoints"): {},
    ("POST", "/v0/pipelines/{name}/clear"): {"name": "stopped"},
    ("POST", "/v0/pipelines/{name}/diff"): {"json": PROGRAM},
    ("POST", "/v0/pipelines/{name}/dismiss_error"): {"name": "stopped"},
    ("GET", "/v0/pipelines/{name}/logs"): {},
    ("POST", "/v0/pipelines/{name}/pause"): {},
    ("POST", "/v0/pipelines/{name}/resume"): {},
    ("POST", "/v0/pipelines/{name}/start"): {"name": "idle", "params": {"bootstrap_policy": "await_approval"}},
    ("GET", "/v0/pipelines/{name}/stats"): {},
    ("POST", "/v0/pipelines/{name}/stop"): {"name": "running", "params": {"force": "true"}},
    ("POST", "/v0/pipelines/{name}/update_runtime"): {"name": "idle"},
}


async def test_every_route_answers_as_described(site: Start, description: Description) -> None:
    here = await site()
    for name in ("orders", "running"):
        here.server.add(name, program=PROGRAM["program_code"])
    for name in ("stopped", "idle"):
        here.server.add(name, program=PROGRAM["program_code"], state="Stopped")
    here.server.add("cleared", state="Stopped", checkpointed=False)
    here.server.add("standby", state="Standby")
    here.server.add("waiting", state="AwaitingApproval")
    tables = (PipelineRoutes(here.server.manager), ClusterRoutes(world=here.server.world, gate=here.server.gate))
    assert set(ROUTES) == {(route.method, route.path) for table in tables for route in table.table()}
    # Last what changes most.
    last = ("update_runtime", "start", "clear", "stop", "{name}")
    for method, template in sorted(ROUTES, key=lambda route: (route[1].endswith(last), route[0] != "GET", route)):
        options = dict(ROUTES[(method, template)])
        path = template.replace("{name}", options.pop("name", "orders"))
        request = here.client.build_request(method, path, **options)
        response = await here.client.send(request)
        assert response.is_success, (method, path, response.text)
        if (method.lower(), template) not in UNDESCRIBED_ROUTES:
            description.check_request(request)
            description.check(response)


async def test_the_comparison_finds_what_is_not_described(site: Start, description: Description) -> None:
    here = await site()
    here.server.add("orders")
    row = await here.get("orders")
    request = here.client.build_request("GET", "/v0/pipelines/orders", params={"selector": "status"})
    description.check(httpx.Response(200, json=row, request=request))
    for spoilt in ({**row, "deployment_status": "Teleporting"}, {**row, "program_version": "7"}, {}, []):
        with pytest.raises(jsonschema.ValidationError):
            description.check(httpx.Response(200, json=spoilt, request=request))
    for params in ({"selector": "some"}, {"colour": "red"}):
        with pytest.raises((AssertionError, jsonschema.ValidationError)):
            description.check_request(here.client.build_request("GET", "/v0/pipelines/orders", params=params))
    for method, path in (("POST", "/v0/pipelines/orders"), ("POST", "/v0/pipelines/orders/reject")):
        with pytest.raises(KeyError):
            description.check_request(here.client.build_request(method, path))
