"""The Kubernetes API as the operator uses it: a few requests over plain JSON, through the official client's transport.

The official client brings configuration (kubeconfig with exec plugins, in-cluster tokens that rotate) and the
connection pool. Its model classes are left aside: they would cost more than the requests.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import yaml
from kubernetes.aio import client, config

from pipeline_approver.core.resource import GROUP, PLURAL, VERSION
from pipeline_approver.kube import errors

FIELD_MANAGER = "pipeline-approver"
PIPELINES = f"/apis/{GROUP}/{VERSION}"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
CONNECTIONS = 32
Manifest = dict[str, Any]


class KubeApi:
    """Every method raises a KubeError when it does not succeed."""

    def __init__(self, configuration: Any, *, timeout_seconds: float = 15) -> None:
        # Not False: that is the number 0 to it, with which it tries again for ever.
        configuration.retries = None
        configuration.connection_pool_maxsize = CONNECTIONS
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=min(10.0, timeout_seconds))
        self._client = client.ApiClient(configuration)
        self._client.user_agent = FIELD_MANAGER

    @classmethod
    async def connect(cls, *, timeout_seconds: float = 15) -> "KubeApi":
        """The cluster that the process runs in, else the current context of the kubeconfig."""
        configuration = client.Configuration()
        try:
            try:
                config.load_incluster_config(client_configuration=configuration)
            except config.ConfigException:
                await config.load_kube_config(client_configuration=configuration)
        except (
            config.ConfigException,
            yaml.YAMLError,
            OSError,
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
        ) as error:
            raise errors.KubeError(
                f"no cluster is configured: set KUBECONFIG to a usable kubeconfig, or run inside a cluster ({error})"
            ) from None
        return cls(configuration, timeout_seconds=timeout_seconds)

    @classmethod
    async def from_kubeconfig(cls, kubeconfig: Mapping[str, Any], *, timeout_seconds: float = 15) -> "KubeApi":
        """The current context of a kubeconfig that is at hand."""
        configuration = client.Configuration()
        await config.load_kube_config_from_dict(dict(kubeconfig), client_configuration=configuration)
        return cls(configuration, timeout_seconds=timeout_seconds)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def list_pipeline_uids(self, namespace: str | None, *, chunk: int = 500) -> dict[str, tuple[str, str]]:
        """Namespace and name of all Pipelines, by uid."""
        while True:
            try:
                return {
                    item["metadata"]["uid"]: (item["metadata"]["namespace"], item["metadata"]["name"])
                    async for item in self._list_chunks(_pipelines(namespace), chunk)
                }
            except errors.Gone:
                # The server has forgotten where the list was; a new one begins.
                await asyncio.sleep(0)

    async def get_pipeline(self, namespace: str, name: str) -> Manifest:
        """One Pipeline."""
        return await self._call("GET", _pipelines(namespace, name))

    async def patch_status(
        self, namespace: str, name: str, *, resource_version: str, status: Mapping[str, Any]
    ) -> Manifest:
        """Merge `status` into the Pipeline's, if it is still at `resource_version`; the answer is the new Pipeline."""
        body = {"metadata": {"resourceVersion": resource_version}, "status": status}
        return await self._call(
            "PATCH",
            _pipelines(namespace, name, "status"),
            query={"fieldManager": FIELD_MANAGER},
            body=body,
            content_type="application/merge-patch+json",
        )

    async def read_secret(self, namespace: str, name: str) -> Manifest:
        """One Secret."""
        return await self._call("GET", _core(namespace, "secrets", name))

    async def get_event(self, namespace: str, name: str) -> Manifest:
        """One Event."""
        return await self._call("GET", _core(namespace, "events", name))

    async def create_event(self, namespace: str, manifest: Manifest) -> Manifest:
        """Create an Event."""
        return await self._call("POST", _core(namespace, "events"), body=manifest)

    async def patch_event(self, namespace: str, name: str, patch: Manifest) -> Manifest:
        """Merge into an Event."""
        return await self._call(
            "PATCH", _core(namespace, "events", name), body=patch, content_type="application/merge-patch+json"
        )

    async def get_lease(self, namespace: str, name: str) -> Manifest:
        """One Lease."""
        return await self._call("GET", _leases(namespace, name))

    async def create_lease(self, namespace: str, manifest: Manifest) -> Manifest:
        """Create a Lease."""
        return await self._call("POST", _leases(namespace), body=manifest)

    async def update_lease(self, namespace: str, manifest: Manifest) -> Manifest:
        """Replace a Lease, if it is still at the resourceVersion in `manifest`; the answer is the new one."""
        return await self._call("PUT", _leases(namespace, manifest["metadata"]["name"]), body=manifest)

    async def _list_chunks(self, path: str, chunk: int) -> AsyncIterator[Manifest]:
        query = {"limit": str(chunk)}
        while True:
            answer = await self._call("GET", path, query=query, accept=METADATA_ONLY)
            for item in answer.get("items") or ():
                yield item
            token = (answer.get("metadata") or {}).get("continue")
            if not token:
                return
            query["continue"] = token

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Manifest:
        """One request; the parsed answer. A body goes in as the client wants it: JSON types."""
        url = f"{path}?{urlencode(query)}" if query else path
        try:
            status, text, headers = await self._exchange(method, url, body, content_type, accept)
        except TimeoutError:
            raise errors.Unavailable("no answer in time") from None
        except (aiohttp.ClientError, OSError, config.ConfigException) as error:
            raise errors.Unavailable(f"the connection failed ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise _explain(status, text, headers)
        answer = _read(text)
        if not answer:
            raise errors.Unavailable("the answer is not one of a Kubernetes API", status=status)
        return answer

    async def _exchange(
        self, method: str, url: str, body: Any, content_type: str, accept: str
    ) -> tuple[int, bytes | str, Mapping[str, str]]:
        """One request over the wire: status, body and headers of the answer, whatever they are."""
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": FIELD_MANAGER}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], url, method, body)
        try:
            response = await self._client.rest_client.request(
                method,
                f"{self._client.configuration.host}{url}",
                headers=headers,
                body=body,
                _request_timeout=self._timeout,
            )
            return response.status, await response.read(), response.headers
        except client.ApiException as error:
            return error.status or 0, error.body or b"", error.headers or {}


def _explain(status: int, text: bytes | str, headers: Mapping[str, str]) -> errors.KubeError:
    answer = _read(text)
    message, reason = answer.get("message"), answer.get("reason")
    after = headers.get("Retry-After", "")
    kind = errors.BY_STATUS.get(status, errors.Unavailable)
    return kind(
        message if isinstance(message, str) and message else f"the Kubernetes API answers {status}",
        status=status,
        reason=reason if isinstance(reason, str) else "",
        retry_after=float(after) if after.isdecimal() else None,
    )


def _read(text: bytes | str) -> Manifest:
    try:
        answer = json.loads(text)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _pipelines(namespace: str | None, *rest: str) -> str:
    where = f"/namespaces/{quote(namespace, safe='')}" if namespace is not None else ""
    return "/".join((f"{PIPELINES}{where}/{PLURAL}", *(quote(part, safe="") for part in rest)))


def _core(namespace: str, plural: str, *rest: str) -> str:
    return "/".join((f"/api/v1/namespaces/{quote(namespace, safe='')}/{plural}", *(quote(p, safe="") for p in rest)))


def _leases(namespace: str, *rest: str) -> str:
    where = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"
    return "/".join((where, *(quote(part, safe="") for part in rest)))
