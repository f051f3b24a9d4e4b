"""The Kubernetes API as the operator uses it: a few requests over plain JSON, through the official client's transport.

The official client brings configuration (kubeconfig with exec plugins, in-cluster tokens that rotate) and the
connection pool. Its model classes are left aside: they would cost more than the requests.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import client, config

from pipeline_approver.core.resource import GROUP, PLURAL, VERSION
from pipeline_approver.kube import errors
from pipeline_approver.kube.configuration import load_configuration

FIELD_MANAGER = "pipeline-approver"
PIPELINES = f"/apis/{GROUP}/{VERSION}"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
CONNECTIONS = 32
LONGEST_RETRY_AFTER_SECONDS = 60.0
RENEW_SECONDS = 10.0
"""How soon after one look for new credentials the next may follow."""
Manifest = dict[str, Any]


class Listed(NamedTuple):
    """What a list says of one Pipeline."""

    namespace: str
    name: str
    resource_version: str


class KubeApi:
    """Every method raises a KubeError when it does not succeed."""

    def __init__(
        self,
        configuration: Any,
        *,
        timeout_seconds: float = 15,
        renew: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        """`renew` puts new credentials into the configuration; it is called when the server refuses the old ones."""
        # Not False: that is the number 0 to it, with which it tries again for ever.
        configuration.retries = None
        configuration.connection_pool_maxsize = CONNECTIONS
        # The library would look for a proxy and into .netrc with every request, in a thread each time.
        configuration.client_session_kwargs = {"trust_env": False}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=min(10.0, timeout_seconds))
        try:
            self._client = client.ApiClient(configuration)
        except (OSError, ValueError, TypeError) as error:
            # ssl's errors are OSErrors; they name no file.
            raise errors.KubeError(
                f"the certificates of the kubeconfig cannot be used ({type(error).__name__}); correct them"
            ) from None
        self._client.user_agent = FIELD_MANAGER
        self._renew = renew
        self._renewing = asyncio.Lock()
        self._renewed_at = float("-inf")

    @classmethod
    async def connect(cls, *, timeout_seconds: float = 15) -> "KubeApi":
        """The cluster that the process runs in, else the current context of the kubeconfig."""
        configuration = client.Configuration()
        await load_configuration(configuration)
        return cls(configuration, timeout_seconds=timeout_seconds, renew=load_configuration)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def list_pipelines(self, namespace: str | None, *, chunk: int = 500) -> dict[str, Listed]:
        """All Pipelines, by uid."""
        for limit in (chunk, chunk, 0):
            try:
                return {
                    item["metadata"]["uid"]: Listed(
                        item["metadata"]["namespace"],
                        item["metadata"]["name"],
                        item["metadata"].get("resourceVersion", ""),
                    )
                    async for item in self._list_chunks(_pipelines(namespace), limit)
                }
            except errors.Gone:
                # The server has forgotten where the list was; a new one begins, at last one in a single piece.
                continue
        raise errors.Unavailable("the server does not go on with its list", status=410)

    async def get_pipeline(self, namespace: str, name: str) -> Manifest:
        """One Pipeline."""
        return _check_pipeline(await self._call("GET", _pipelines(namespace, name)))

    async def patch_status(
        self, namespace: str, name: str, *, resource_version: str, status: Mapping[str, Any]
    ) -> Manifest:
        """Merge `status` into the Pipeline's, if it is still at `resource_version`; the answer is the new Pipeline."""
        body = {"metadata": {"resourceVersion": resource_version}, "status": status}
        answer = await self._call(
            "PATCH",
            _pipelines(namespace, name, "status"),
            query={"fieldManager": FIELD_MANAGER},
            body=body,
            content_type="application/merge-patch+json",
        )
        return _check_pipeline(answer)

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
        query = {"limit": str(chunk)} if chunk else {}
        while True:
            answer = await self._call("GET", path, query=query, accept=METADATA_ONLY)
            items = answer.get("items")
            for item in items if isinstance(items, list) else ():
                yield _check_pipeline(item)
            token = answer["metadata"].get("continue")
            if not token:
                return
            query["continue"] = str(token)

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
        except (aiohttp.ClientError, OSError, ValueError, config.ConfigException) as error:
            # ValueError: credentials that no header takes, for example a token with a line break.
            raise errors.Unavailable(f"the connection failed ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise _explain(status, text, headers)
        answer = _read(text)
        if not _is_object(answer):
            raise _not_kubernetes()
        return answer

    async def _exchange(
        self, method: str, url: str, body: Any, content_type: str, accept: str
    ) -> tuple[int, bytes | str, Mapping[str, str]]:
        """One request over the wire: status, body and headers of the answer, whatever they are."""
        sent = self._token
        answer = await self._send(method, url, body, content_type, accept)
        if answer[0] == 401 and await self._find_other_token(sent):
            answer = await self._send(method, url, body, content_type, accept)
        return answer

    async def _send(
        self, method: str, url: str, body: Any, content_type: str, accept: str
    ) -> tuple[int, bytes | str, Mapping[str, str]]:
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

    @property
    def _token(self) -> object:
        return self._client.configuration.api_key.get("BearerToken")

    async def _find_other_token(self, refused: object) -> bool:
        """Whether there are other credentials than the refused ones; those of exec plugins expire."""
        if self._renew is None:
            return False
        async with self._renewing:
            now = asyncio.get_running_loop().time()
            if self._token == refused and now - self._renewed_at >= RENEW_SECONDS:
                self._renewed_at = now
                try:
                    await self._renew(self._client.configuration)
                except errors.KubeError:
                    return False
            return self._token != refused


def _explain(status: int, text: bytes | str, headers: Mapping[str, str]) -> errors.KubeError:
    answer = _read(text)
    message, reason = answer.get("message"), answer.get("reason")
    after = headers.get("Retry-After", "")
    kind = errors.BY_STATUS.get(status, errors.Unavailable)
    return kind(
        message if isinstance(message, str) and message else f"the Kubernetes API answers {status}",
        status=status,
        reason=reason if isinstance(reason, str) else "",
        retry_after=min(float(after), LONGEST_RETRY_AFTER_SECONDS) if after.isdecimal() else None,
    )


def _read(text: bytes | str) -> Manifest:
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _is_object(answer: object) -> bool:
    return isinstance(answer, dict) and isinstance(answer.get("metadata"), dict)


def _check_pipeline(answer: Manifest) -> Manifest:
    names = ("uid", "namespace", "name")
    if not _is_object(answer) or not all(isinstance(answer["metadata"].get(name), str) for name in names):
        raise _not_kubernetes()
    return answer


def _not_kubernetes() -> errors.KubeError:
    return errors.Unavailable("the answer is not one of a Kubernetes API; is a proxy in between?", status=200)


def _pipelines(namespace: str | None, *rest: str) -> str:
    where = f"/namespaces/{_quote(namespace)}" if namespace is not None else ""
    return "/".join((f"{PIPELINES}{where}/{PLURAL}", *map(_quote, rest)))


def _core(namespace: str, plural: str, *rest: str) -> str:
    return "/".join((f"/api/v1/namespaces/{_quote(namespace)}/{plural}", *map(_quote, rest)))


def _leases(namespace: str, *rest: str) -> str:
    where = f"/apis/coordination.k8s.io/v1/namespaces/{_quote(namespace)}/leases"
    return "/".join((where, *map(_quote, rest)))


def _quote(part: str) -> str:
    if part in ("", ".", ".."):
        # Such a path would lead elsewhere, for example to the list of all Secrets.
        raise errors.NotFound(f"{part!r} is no name", status=404, reason="NotFound")
    return quote(part, safe="")
