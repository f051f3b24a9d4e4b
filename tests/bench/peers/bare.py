"""The floor: a bare script on the same two APIs. No rule, no record, no safety, no recovery.

It watches Pipelines and posts an approval as soon as one is annotated, and it polls the list of Feldera and writes
down the state of what changed.
"""

import asyncio
import json
import sys
from typing import Any

import aiohttp

ANNOTATION = "pipeline-approver.io/approve"
MERGE = {"Content-Type": "application/merge-patch+json"}


async def main(kube: str, feldera: str, interval: float) -> None:
    url = f"{kube}/apis/pipeline-approver.io/v1alpha1"
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(read_bufsize=2**24, timeout=timeout) as session:
        done: set[str] = set()
        tasks: set[asyncio.Task[None]] = set()
        states: dict[str, str] = {}
        writes = asyncio.Semaphore(20)

        async def post(name: str) -> None:
            async with session.post(f"{feldera}/v0/pipelines/{name}/approve") as response:
                await response.read()

        async def write(name: str, state: str) -> None:
            target = f"{url}/namespaces/default/pipelines/{name}/status"
            async with writes, session.patch(target, json={"status": {"state": state}}, headers=MERGE) as response:
                await response.read()

        def spawn(work: Any) -> None:
            task = asyncio.create_task(work)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        async def poll() -> None:
            while True:
                async with session.get(f"{feldera}/v0/pipelines?selector=status") as response:
                    for row in await response.json():
                        name, state = row["name"], row["deployment_status"]
                        if states.get(name) != state:
                            states[name] = state
                            spawn(write(name, state))
                await asyncio.sleep(interval)

        async with session.get(f"{url}/pipelines") as response:
            version = (await response.json())["metadata"]["resourceVersion"]
        spawn(poll())
        async with session.get(f"{url}/pipelines?watch=true&resourceVersion={version}") as response:
            async for line in response.content:
                metadata = json.loads(line)["object"]["metadata"]
                value = (metadata.get("annotations") or {}).get(ANNOTATION)
                if value and (metadata["name"], value) not in done:
                    done.add((metadata["name"], value))
                    spawn(post(metadata["name"]))


asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
