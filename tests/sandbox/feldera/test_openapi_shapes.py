"""What the simulated server says is what Feldera's own description of its API describes, but for known deviations.

The description is not part of this repository: FELDERA_OPENAPI names the file (version 3.0 of OpenAPI, JSON).
"""

import json
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from pipeline_approver.sandbox.feldera import pipeline_diff

Start = Callable[..., Awaitable[Any]]

# What real servers say although the description does not know it.
UNDESCRIBED_KEYS = {"bootstrap_policy", "silent_bootstrap", "concurrent_bootstrap"}
UNDESCRIBED_ANSWERS = {
    ("post", "/v0/pipelines/{pipeline_name}/approve", 202): "the answer that older documentation promised",
    ("post", "/v0/pipelines/{pipeline_name}/approve", 401): "plain text around JSON",
    ("post", "/v0/pipelines/{pipeline_name}/approve", 403): "an error without details",
    ("post", "/v0/pipelines/{pipeline_name}/checkpoint", 501): "the edition without checkpoints",
    ("post", "/v0/pipelines/{pipeline_name}/pause", 503): "an interaction with a pipeline that is not there",
}


class Description:
    """The OpenAPI file as JSON schemas."""

    def __init__(self, path: Path) -> None:
        self.document = json.loads(path.read_text())
        self.components = _as_json_schema(self.document["components"])

    def check(self, response: httpx.Response) -> None:
        """Fail unless the answer is described for this request, or is a known deviation."""
        method, path = response.request.method.lower(), response.request.url.path
        template = re.sub(r"^/v0/pipelines/[^/]+", "/v0/pipelines/{pipeline_name}", path)
        described = self.document["paths"][template][method]["responses"].get(str(response.status_code))
        if described is None:
            assert (method, template, response.status_code) in UNDESCRIBED_ANSWERS, response.text
            return
        content = described.get("content", {}).get("application/json")
        if content is not None:
            self.validate(response.json(), content["schema"])

    def validate(self, value: Any, schema: dict[str, Any]) -> None:
        whole = {**_as_json_schema(schema), "components": self.components}
        jsonschema.Draft202012Validator(whole).validate(value)

    def keys(self, name: str) -> set[str]:
        """All properties of an object made of several."""
        parts = [self.document["components"]["schemas"][name]]
        found: set[str] = set()
        while parts:
            part = parts.pop()
            found |= set(part.get("properties", {}))
            for one in part.get("allOf", []):
                reference = one.get("$ref", "").rsplit("/", 1)[-1]
                parts.append(self.document["components"]["schemas"][reference] if reference else one)
        return found


def _as_json_schema(schema: Any) -> Any:
    """OpenAPI's `nullable` as a choice; the rest means the same in JSON Schema."""
    if isinstance(schema, list):
        return [_as_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _as_json_schema(value) for key, value in schema.items() if key not in {"nullable", "example"}}
    return {"anyOf": [result, {"type": "null"}]} if schema.get("nullable") is True else result


@pytest.fixture(scope="module")
def description() -> Description:
    path = os.environ.get("FELDERA_OPENAPI")
    if not path:
        pytest.skip("FELDERA_OPENAPI IS NOT SET: THE SIMULATED FELDERA IS NOT COMPARED WITH ITS DESCRIPTION")
    return Description(Path(path))


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
            assert set(row) - description.keys("PipelineSelectedInfo") == UNDESCRIBED_KEYS
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
