"""Feldera's own description of its API, to compare requests and answers with.

It is not part of this repository: FELDERA_OPENAPI names the file (version 3.0 of OpenAPI, JSON). Where real servers
do otherwise than it says, that is listed here, with the reason.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

DESCRIBED_VERSION = "0.337.0"
"""The deviations below were found in this version."""

UNDESCRIBED_KEYS = {
    "bootstrap_policy": "on the wire, but flattened into the answer behind the back of the description",
    "silent_bootstrap": "the same",
    "concurrent_bootstrap": "the same",
}
UNDESCRIBED_ANSWERS = {
    ("post", "/v0/pipelines/{pipeline_name}/approve", 202): "the answer that older documentation promised",
    ("post", "/v0/pipelines/{pipeline_name}/approve", 401): "plain text around JSON; no route describes its 401",
    ("post", "/v0/pipelines/{pipeline_name}/approve", 403): "an error without details; no route describes its 403",
    ("post", "/v0/pipelines/{pipeline_name}/checkpoint", 501): "the edition without checkpoints",
    ("post", "/v0/pipelines/{pipeline_name}/pause", 503): "an interaction with a pipeline that is not there",
}
UNDESCRIBED_ROUTES = {
    ("get", "/healthz"): "the liveness probe, outside of the API",
}
# `deployment_runtime_status_details` is free JSON in the description: both of its shapes pass.


class Description:
    """The OpenAPI file as JSON schemas."""

    def __init__(self, path: Path) -> None:
        self.document = json.loads(path.read_text())
        self.components = _as_json_schema(self.document["components"])

    def check_request(self, request: httpx.Request) -> None:
        """Fail unless the request is described: its path, its method, each of its parameters, and its body."""
        method, template = name_route(request)
        described = self.document["paths"][template][method]
        parameters = {one["name"]: one for one in described.get("parameters", []) if one["in"] == "query"}
        for name, value in request.url.params.multi_items():
            assert name in parameters, f"{method} {template} knows no {name}"
            self.validate(_read_parameter(value), parameters[name]["schema"])
        missing = {name for name, one in parameters.items() if one.get("required")} - set(request.url.params)
        assert not missing
        body = described.get("requestBody")
        if body is None:
            assert request.content == b""
        else:
            self.validate(json.loads(request.content), body["content"]["application/json"]["schema"])

    def check(self, response: httpx.Response) -> None:
        """Fail unless the answer is described for this request, or is a known deviation."""
        method, template = name_route(response.request)
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


def name_route(request: httpx.Request) -> tuple[str, str]:
    """Method and path as the description names them."""
    template = re.sub(r"^/v0/pipelines/[^/]+", "/v0/pipelines/{pipeline_name}", request.url.path)
    return request.method.lower(), template


def _read_parameter(value: str) -> Any:
    return {"true": True, "false": False}.get(value, value)


def _as_json_schema(schema: Any) -> Any:
    """OpenAPI's `nullable` as a choice; the rest means the same in JSON Schema."""
    if isinstance(schema, list):
        return [_as_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _as_json_schema(value) for key, value in schema.items() if key not in {"nullable", "example"}}
    return {"anyOf": [result, {"type": "null"}]} if schema.get("nullable") is True else result


def load_description() -> Description:
    """The description, or a test that says loudly that it did not run."""
    path = os.environ.get("FELDERA_OPENAPI")
    if not path:
        pytest.skip("FELDERA_OPENAPI IS NOT SET: NOTHING IS COMPARED WITH FELDERA'S DESCRIPTION OF ITS API")
    return Description(Path(path))
