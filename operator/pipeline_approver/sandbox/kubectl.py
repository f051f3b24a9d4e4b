"""What the demo does to the cluster: with kubectl where it is installed, else through the API and said so."""

import asyncio
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import aiohttp

GROUP = "pipeline-approver.io"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class CommandFailed(Exception):
    """kubectl, or the request in its place, did not succeed."""


class Cluster:
    """A user of the Kubernetes API. Every command is shown before it is carried out."""

    def __init__(self, url: str, kubeconfig: Path, session: aiohttp.ClientSession) -> None:
        self._base = f"{url}/apis/{GROUP}/v1alpha1/namespaces"
        self._events = f"{url}/api/v1/namespaces"
        self._kubeconfig = kubeconfig
        self._session = session
        self.kubectl = shutil.which("kubectl")

    async def get(self, namespace: str, name: str) -> dict[str, Any]:
        """One Pipeline."""
        return await self._request("GET", f"{self._base}/{namespace}/pipelines/{name}")

    async def create(self, manifest: dict[str, Any]) -> str:
        """Create a Pipeline; the answer is what kubectl would print."""
        namespace = manifest["metadata"]["namespace"]
        if self.kubectl:
            return await self._run("apply", "-f", "-", stdin=json.dumps(manifest))
        await self._request("POST", f"{self._base}/{namespace}/pipelines", json=manifest)
        return f"pipeline.{GROUP}/{manifest['metadata']['name']} created"

    async def annotate(self, namespace: str, name: str, **annotations: str) -> str:
        """Set annotations of our group."""
        values = {f"{GROUP}/{key.replace('_', '-')}": value for key, value in annotations.items()}
        if self.kubectl:
            pairs = [f"{key}={value}" for key, value in values.items()]
            return await self._run("annotate", "fpl", name, "-n", namespace, "--overwrite", *pairs)
        await self._request(
            "PATCH",
            f"{self._base}/{namespace}/pipelines/{name}",
            params={"fieldManager": "demo"},
            json={"metadata": {"annotations": values}},
            headers={"Content-Type": "application/merge-patch+json"},
        )
        return f"pipeline.{GROUP}/{name} annotated"

    async def show(self, namespace: str, *, wide: bool = False) -> str:
        """The table of Pipelines."""
        if self.kubectl:
            return await self._run("get", "fpl", "-n", namespace, *(["-o", "wide"] if wide else []))
        answer = await self._request("GET", f"{self._base}/{namespace}/pipelines", headers={"Accept": TABLE})
        return _format_table(answer, wide=wide)

    async def show_events(self, namespace: str, name: str) -> str:
        """The Events of one Pipeline, oldest first."""
        answer = await self._request("GET", f"{self._events}/{namespace}/events")
        events = [event for event in answer["items"] if event["involvedObject"]["name"] == name]
        events.sort(key=lambda event: (event["firstTimestamp"], int(event["metadata"]["resourceVersion"])))
        return "\n".join(f"{event['type']:<8} {event['reason']:<19} {event['message']}" for event in events)

    def describe(self, *arguments: str) -> str:
        """A command line as a person would type it."""
        return shlex.join(["kubectl", *arguments])

    async def _run(self, *arguments: str, stdin: str | None = None) -> str:
        assert self.kubectl is not None
        process = await asyncio.create_subprocess_exec(
            self.kubectl,
            f"--kubeconfig={self._kubeconfig}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate((stdin or "").encode())
        if process.returncode:
            raise CommandFailed(f"{self.describe(*arguments)}: {output.decode().strip()}")
        return output.decode().rstrip()

    async def _request(self, method: str, url: str, **arguments: Any) -> dict[str, Any]:
        async with self._session.request(method, url, **arguments) as response:
            body: dict[str, Any] = await response.json(content_type=None)
            if response.status >= 300:
                raise CommandFailed(f"{method} {url}: {body.get('message')}")
            return body


def _format_table(table: dict[str, Any], *, wide: bool) -> str:
    columns = [
        (number, column["name"].upper())
        for number, column in enumerate(table["columnDefinitions"])
        if wide or not column.get("priority")
    ]
    rows = [[heading for _, heading in columns]]
    rows += [
        ["" if row["cells"][number] is None else str(row["cells"][number]) for number, _ in columns]
        for row in table["rows"]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    return "\n".join("   ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
