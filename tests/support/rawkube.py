"""Plain HTTP to any Kubernetes API server, the in-memory one or a real one: what the conformance cases speak."""

import asyncio
import contextlib
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

GROUP = "conformance.example.com"
API = f"{GROUP}/v1"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
PATIENCE_SECONDS = 20.0

STRING = {"type": "string"}
WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"widgets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "shortNames": ["wd"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "selectableFields": [{"jsonPath": ".status.phase"}],
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
                    {
                        "name": "Ready",
                        "type": "string",
                        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
                    },
                    {"name": "Seen", "type": "date", "jsonPath": ".status.seen"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                    {"name": "Note", "type": "string", "priority": 1, "jsonPath": ".spec.note"},
                    {"name": "Approve", "type": "string", "jsonPath": ".metadata.annotations.example\\.com/approve"},
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "description": "A widget is a thing.",
                        "required": ["spec"],
                        "properties": {
                            "spec": {
                                "type": "object",
                                "description": "What the widget should be.",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer", "minimum": 0, "maximum": 100, "format": "int32"},
                                    "colour": {"type": "string", "enum": ["Red", "Green"], "default": "Red"},
                                    "note": {"type": "string", "minLength": 1, "maxLength": 8, "pattern": "^[a-z]*$"},
                                    "maybe": {"type": "string", "nullable": True},
                                    "tags": {"type": "array", "maxItems": 2, "items": STRING},
                                    "ports": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["name"],
                                        "items": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {
                                                "name": STRING,
                                                "port": {"type": "integer", "default": 80},
                                            },
                                        },
                                    },
                                    "labels": {
                                        "type": "object",
                                        "maxProperties": 2,
                                        "additionalProperties": {"type": "string", "maxLength": 5},
                                    },
                                    "at": {"type": "string", "format": "date-time"},
                                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                    "nested": {
                                        "type": "object",
                                        "default": {},
                                        "properties": {"mode": {"type": "string", "default": "Fast"}},
                                    },
                                    "strict": {"type": "boolean"},
                                    "ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                                },
                            },
                            "status": {
                                "type": "object",
                                "properties": {
                                    "phase": STRING,
                                    "seen": {"type": "string", "format": "date-time"},
                                    "count": {"type": "integer", "format": "int64"},
                                    "conditions": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["type"],
                                        "items": {
                                            "type": "object",
                                            "required": ["type", "status"],
                                            "properties": {"type": STRING, "status": STRING, "message": STRING},
                                        },
                                    },
                                },
                            },
                        },
                    }
                },
            }
        ],
    },
}


GADGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"gadgets.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Cluster",
        "names": {"kind": "Gadget", "plural": "gadgets"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "either": {"x-kubernetes-int-or-string": True},
                                    "choice": {"type": "integer", "anyOf": [{"minimum": 10}, {"maximum": 5}]},
                                    "never": {"type": "string", "not": {"enum": ["no"]}},
                                },
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: Any
    headers: Any

    @property
    def object(self) -> dict[str, Any]:
        """The object of a request that succeeded."""
        assert self.status in (200, 201), self.body
        assert isinstance(self.body, dict)
        return self.body

    @property
    def names(self) -> list[str]:
        """The names in a list."""
        return [item["metadata"]["name"] for item in self.object["items"]]

    @property
    def refusal(self) -> tuple[int, str]:
        """Code and reason of a refusal, which is a Status."""
        assert self.body["kind"] == "Status", self.body
        assert self.body["code"] == self.status
        return self.status, self.body["reason"]

    @property
    def causes(self) -> list[str]:
        """The fields that a refusal names."""
        assert self.refusal == (422, "Invalid"), self.body
        return sorted({cause["field"] for cause in self.body["details"]["causes"]})


class Watch:
    """An open watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> tuple[str, dict[str, Any]]:
        """The next event: its type and its object."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            line = await self._response.content.readline()
        assert line, "the watch has ended"
        event = json.loads(line)
        return event["type"], event["object"]

    async def take(self, count: int) -> list[tuple[str, str]]:
        """Types and names of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(type_, object_["metadata"]["name"]) for type_, object_ in events]

    async def ended(self) -> bool:
        """Wait for its end; whether it was an orderly one."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                return await self._response.content.read() == b""
            except (aiohttp.ClientError, ConnectionError):
                return False


class RawKube:
    """One user of one API server, at home in one namespace."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, token: str, *, namespace: str, version: tuple[int, int]
    ) -> None:
        self._session = session
        self._token = token
        self.url = url
        self.namespace = namespace
        self.version = version
        self.widgets = f"/apis/{API}/namespaces/{namespace}/widgets"
        self.all_widgets = f"/apis/{API}/widgets"
        self.gadgets = f"/apis/{API}/gadgets"
        self.core = f"/api/v1/namespaces/{namespace}"

    def needs(self, version: tuple[int, int], feature: str) -> None:
        """Leave a case out, loudly, on a server that is too old for it."""
        if self.version < version:
            mine, needed = (".".join(map(str, numbers)) for numbers in (self.version, version))
            pytest.skip(f"NOT CHECKED ON THIS SERVER: KUBERNETES {mine} HAS NO {feature.upper()} YET ({needed} HAS)")

    def as_named(self, field: str) -> str:
        """A field as this server names it: old ones leave the places in lists out."""
        return field if self.version >= (1, 25) else re.sub(r"\[\d+\]", "", field)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        accept: str = "application/json",
        agent: str = "probe/1.0",
        headers: Mapping[str, str] | None = None,
        **query: str,
    ) -> Answer:
        """One request."""
        headers = {"Accept": accept, "Authorization": f"Bearer {self._token}", "User-Agent": agent, **(headers or {})}
        if body is not None:
            headers["Content-Type"] = kind
        data = None if body is None else io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        async with self._session.request(method, self.url + path, data=data, headers=headers, params=query) as response:
            text = await response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
            return Answer(response.status, json.loads(text) if is_json else text.decode(), response.headers)

    async def create(self, name: str, *, metadata: Any = None, **spec: Any) -> dict[str, Any]:
        """A widget that exists."""
        return (await self.try_create(name, metadata=metadata, **spec)).object

    async def try_create(self, name: str, *, metadata: Any = None, **spec: Any) -> Answer:
        """What comes of creating a widget."""
        return await self.call("POST", self.widgets, widget(name, metadata, **{"size": 1, **spec}))

    async def get(self, name: str) -> Answer:
        return await self.call("GET", f"{self.widgets}/{name}")

    async def merge(self, name: str, patch: Any, *, sub: str = "", **query: str) -> Answer:
        """A merge patch."""
        return await self.call("PATCH", f"{self.widgets}/{name}{sub}", patch, kind=MERGE, **query)

    async def patch(self, name: str, operations: Any) -> Answer:
        """A JSON patch."""
        return await self.call("PATCH", f"{self.widgets}/{name}", operations, kind=JSON_PATCH)

    async def apply(self, name: str, *, manager: str, metadata: Any = None, force: bool = False, **spec: Any) -> Answer:
        """Server-side apply."""
        query = {"fieldManager": manager, **({"force": "true"} if force else {})}
        body = widget(name, metadata, **spec)
        return await self.call("PATCH", f"{self.widgets}/{name}", body, kind=APPLY, **query)

    async def delete(self, name: str, body: Any = None, **query: str) -> Answer:
        return await self.call("DELETE", f"{self.widgets}/{name}", body, **query)

    async def revision(self) -> str:
        """The resourceVersion of a list made now."""
        return str((await self.call("GET", self.widgets)).object["metadata"]["resourceVersion"])

    @contextlib.asynccontextmanager
    async def watch(self, path: str = "", *, accept: str = "application/json", **query: str) -> AsyncIterator[Watch]:
        """An open watch, of the widgets in the namespace if not said otherwise."""
        headers = {"Accept": accept, "Authorization": f"Bearer {self._token}"}
        params = {"watch": "true", **query}
        url = self.url + (path or self.widgets)
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(url, params=params, headers=headers, timeout=timeout) as response:
            assert response.status == 200, await response.text()
            try:
                yield Watch(response)
            finally:
                # At once: an orderly end of TLS outlives the test.
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()


def widget(name: str, metadata: Any = None, **spec: Any) -> dict[str, Any]:
    """A manifest."""
    return {"apiVersion": API, "kind": "Widget", "metadata": {"name": name, **(metadata or {})}, "spec": spec}


def owners(object_: dict[str, Any], field: str) -> set[tuple[str, str]]:
    """Who owns a field such as `metadata.annotations.note`, as (manager, operation)."""
    found = set()
    for entry in object_["metadata"].get("managedFields") or ():
        place = entry["fieldsV1"]
        for part in field.split("."):
            place = place.get(f"f:{part}") if place is not None else None
        if place is not None:
            found.add((entry["manager"], entry["operation"]))
    return found


async def until(probe: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so; the patience is a safety net and no statement about speed."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not await probe():
        assert asyncio.get_running_loop().time() < deadline, "it did not come true"
        await asyncio.sleep(0.05)
