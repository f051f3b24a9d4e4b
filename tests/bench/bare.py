"""The floor: watch Pipelines, and post an approval as soon as one is annotated. No rule, no record, no safety."""

import asyncio
import json
import sys

import aiohttp

ANNOTATION = "pipeline-approver.io/approve"


async def main(kube: str, feldera: str) -> None:
    url = f"{kube}/apis/pipeline-approver.io/v1alpha1/pipelines"
    done: set[str] = set()
    async with aiohttp.ClientSession(read_bufsize=2**24, timeout=aiohttp.ClientTimeout(total=None)) as session:

        async def post(name: str) -> None:
            async with session.post(f"{feldera}/v0/pipelines/{name}/approve") as response:
                await response.read()

        async with session.get(url) as response:
            version = (await response.json())["metadata"]["resourceVersion"]
        async with session.get(url, params={"watch": "true", "resourceVersion": version}) as response:
            print("ready", flush=True)
            tasks = set()
            async for line in response.content:
                item = json.loads(line)["object"]
                name = item["metadata"]["name"]
                if name not in done and (item["metadata"].get("annotations") or {}).get(ANNOTATION) == "true":
                    done.add(name)
                    tasks.add(asyncio.create_task(post(name)))


asyncio.run(main(*sys.argv[1:]))
