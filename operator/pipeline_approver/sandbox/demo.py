"""The whole story in a terminal: `make demo`.

A pipeline runs, is changed, waits for approval, gets a wrong one and the right one, bootstraps, and its checkpoint
is on the record. Both APIs are the sandbox's; the operator is the real one, as a process of its own. The exit code
is 0 only if every step was seen to happen.
"""

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import yaml

from pipeline_approver.sandbox.crd import read_crd
from pipeline_approver.sandbox.feldera import FelderaServer
from pipeline_approver.sandbox.kube import KubeServer
from pipeline_approver.sandbox.kubectl import Cluster, CommandFailed
from pipeline_approver.sandbox.teller import Teller

Found = TypeVar("Found")

NAMESPACE, NAME = "default", "orders"
PATIENCE_SECONDS = 20.0

BEFORE = """CREATE TABLE orders (id BIGINT PRIMARY KEY, region VARCHAR, total DECIMAL(10, 2));
CREATE MATERIALIZED VIEW totals WITH ('connectors' = '[{"name": "kafka_out"}]')
  AS SELECT region, SUM(total) AS total FROM orders GROUP BY region;"""
AFTER = """CREATE TABLE orders (id BIGINT PRIMARY KEY, region VARCHAR, total DECIMAL(10, 2));
CREATE MATERIALIZED VIEW totals WITH ('connectors' = '[{"name": "kafka_out"}]')
  AS SELECT region, SUM(total) AS total, COUNT(*) AS orders FROM orders GROUP BY region;
CREATE MATERIALIZED VIEW big_orders AS SELECT * FROM orders WHERE total > 1000;"""
PIPELINE = {
    "apiVersion": "pipeline-approver.io/v1alpha1",
    "kind": "Pipeline",
    "metadata": {"name": NAME, "namespace": NAMESPACE},
    "spec": {},
}


class StepMissed(Exception):
    """Something in the story did not happen."""


class Demo:
    """The story's stage."""

    def __init__(
        self, teller: Teller, cluster: Cluster, feldera: FelderaServer, session: aiohttp.ClientSession
    ) -> None:
        self._teller = teller
        self._cluster = cluster
        self._feldera = feldera
        self._session = session

    async def tell(self) -> None:
        """All steps, in order."""
        await self._run_pipeline()
        await self._change_pipeline()
        request_id = await self._show_request()
        await self._approve_wrongly(request_id)
        await self._approve(request_id)
        await self._approve_again(request_id)
        await self._show_record()

    async def _run_pipeline(self) -> None:
        tell = self._teller
        tell.title("A pipeline runs in Feldera, and a Pipeline resource stands for it")
        await self._call("PUT", "", json={"name": NAME, "program_code": BEFORE})
        await self._feldera_reaches(lambda row: row["program_status"] == "Success", "the program is compiled")
        await self._call("POST", "/start")
        await self._feldera_reaches(lambda row: row["deployment_status"] == "Running", "the pipeline runs")
        await self._take_checkpoint()
        tell.command("kubectl apply -f orders.yaml")
        tell.output(await self._cluster.create(PIPELINE))
        await self._status_reaches(lambda status: status.get("state") == "Running", "the operator sees it running")
        await self._show()

    async def _take_checkpoint(self) -> None:
        """Without one, Feldera starts a changed program from nothing and asks nobody."""
        number = (await self._call("POST", "/checkpoint"))["checkpoint_sequence_number"]

        async def look() -> bool | None:
            return (await self._call("GET", "/checkpoint_status")).get("success") == number or None

        await self._wait(look, "it has a checkpoint")

    async def _change_pipeline(self) -> None:
        tell = self._teller
        tell.title("Somebody changes the SQL and restarts: Feldera stops and asks for approval")
        tell.say("view totals gets a column, view big_orders is new")
        await self._call("POST", "/stop", params={"force": "true"})
        await self._feldera_reaches(lambda row: row["deployment_status"] == "Stopped", "the pipeline is stopped")
        await self._call("PATCH", "", json={"program_code": AFTER})
        await self._feldera_reaches(lambda row: row["program_status"] == "Success", "the new program is compiled")
        await self._call("POST", "/start", params={"bootstrap_policy": "await_approval"})
        await self._status_reaches(lambda status: "request" in status, "the operator reports what waits")
        await self._show(wide=True)

    async def _show_request(self) -> str:
        tell = self._teller
        tell.title("The request: which change, and how dangerous it is")
        request: dict[str, Any] = (await self._status())["request"]
        tell.command(f"kubectl get fpl {NAME} -o jsonpath='{{.status.request}}'")
        tell.output(yaml.safe_dump(request, sort_keys=False, width=100).rstrip())
        self._check(request["risk"] == "Reemits", "the risk is named: view totals is sent to Kafka again, whole")
        return str(request["id"])

    async def _approve_wrongly(self, request_id: str) -> None:
        tell = self._teller
        tell.title("An approval of something else is ignored, with a reason")
        await self._annotate(approve=request_id[:8])
        status = await self._status_reaches(lambda status: bool(status.get("ignored")), "the operator says why")
        tell.output(status["ignored"][0]["message"])
        self._check(not self._feldera.approvals, "Feldera was not called")

    async def _approve(self, request_id: str) -> None:
        tell = self._teller
        tell.title("The right one is carried out, once")
        await self._annotate(approve=request_id, reason="reviewed in change 42", approved_by="alice")
        await self._status_reaches(
            lambda status: status.get("decision", {}).get("outcome") == "Bootstrapped", "the pipeline has bootstrapped"
        )
        status = await self._status_reaches(
            lambda status: _find(status, "CheckpointDurable") == "True",
            "the checkpoint that makes it durable is complete",
        )
        tell.say(f"checkpoint_sequence_number: {status['checkpoint_sequence_number']}")
        await self._show(wide=True)

    async def _approve_again(self, request_id: str) -> None:
        tell = self._teller
        tell.title("The annotation stays where it is, as a GitOps controller would keep it: nothing more happens")
        await self._annotate(approve=request_id)
        await self._poll_passes()
        effective = [record for record in self._feldera.approvals if record.effective]
        self._check(len(self._feldera.approvals) == len(effective) == 1, "Feldera was asked to approve exactly once")

    async def _poll_passes(self) -> None:
        """Wait until the operator has asked Feldera twice: whatever it would do, it has begun."""
        lists = ("GET", "/v0/pipelines", "status")
        due = self._feldera.counts[lists] + 2

        async def look() -> bool | None:
            return self._feldera.counts[lists] >= due or None

        await self._wait(look, "the operator has looked at it again")

    async def _show_record(self) -> None:
        tell = self._teller
        tell.title("The record: who, what, when, and what came of it")
        tell.command(f"kubectl get fpl {NAME} -o jsonpath='{{.status.decision}}'")
        decision = (await self._status())["decision"]
        tell.output(yaml.safe_dump(decision, sort_keys=False, width=100).rstrip())
        self._check(decision["by"]["user"] == "alice", "the decision names its author")
        tell.command("kubectl get events")
        events = await self._events_reach("CheckpointComplete")
        tell.output(events)

    async def _annotate(self, **annotations: str) -> None:
        pairs = " ".join(
            f"pipeline-approver.io/{key.replace('_', '-')}={value!r}" for key, value in annotations.items()
        )
        self._teller.command(f"kubectl annotate fpl {NAME} --overwrite {pairs}")
        self._teller.output(await self._cluster.annotate(NAMESPACE, NAME, **annotations))

    async def _show(self, *, wide: bool = False) -> None:
        self._teller.command(f"kubectl get fpl{' -o wide' if wide else ''}")
        self._teller.output(await self._cluster.show(NAMESPACE, wide=wide))

    async def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = (await self._cluster.get(NAMESPACE, NAME)).get("status", {})
        return status

    async def _status_reaches(self, is_reached: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            status = await self._status()
            return status if is_reached(status) else None

        return await self._wait(look, what)

    async def _feldera_reaches(self, is_reached: Callable[[dict[str, Any]], bool], what: str) -> None:
        async def look() -> bool | None:
            return is_reached(await self._call("GET", "", params={"selector": "status"})) or None

        await self._wait(look, what)

    async def _events_reach(self, reason: str) -> str:
        async def look() -> str | None:
            events = await self._cluster.show_events(NAMESPACE, NAME)
            return events if reason in events else None

        return await self._wait(look, "every transition has its Event")

    async def _wait(self, look: Callable[[], Awaitable[Found | None]], what: str) -> Found:
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while (found := await look()) is None:
            if asyncio.get_running_loop().time() > deadline:
                raise StepMissed(what)
            await asyncio.sleep(0.05)
        self._teller.good(what)
        return found

    def _check(self, is_so: bool, what: str) -> None:
        if not is_so:
            raise StepMissed(what)
        self._teller.good(what)

    async def _call(self, method: str, action: str, **arguments: Any) -> dict[str, Any]:
        url = f"{self._feldera.url}/v0/pipelines/{NAME}{action}"
        async with self._session.request(method, url, **arguments) as response:
            body = await response.json(content_type=None)
            if response.status >= 300:
                raise StepMissed(f"{method} {action or NAME} in Feldera: {body}")
            return body if isinstance(body, dict) else {}


def _find(status: dict[str, Any], type_: str) -> str:
    return next((c["status"] for c in status.get("conditions", []) if c["type"] == type_), "")


@contextlib.asynccontextmanager
async def _operator(kubeconfig: Path, feldera: str, teller: Teller) -> AsyncIterator[None]:
    """The real operator, as a process of its own; its log is part of the story."""
    # What the user has set for an operator of his own is not meant for this one.
    environ = {
        key: value for key, value in os.environ.items() if not key.startswith(("FELDERA_", "PIPELINE_APPROVER_"))
    }
    environ |= {"KUBECONFIG": str(kubeconfig), "FELDERA_URL": feldera}
    arguments = ("run", "--poll-interval", "0.5", "--health-port", "0")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pipeline_approver", *arguments, env=environ, stderr=asyncio.subprocess.PIPE
    )

    async def read_log() -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            teller.operator(line.decode(errors="replace").rstrip())

    reading = asyncio.create_task(read_log())
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        code = await process.wait()
        await reading
    if code:
        raise StepMissed(f"the operator ends in peace (exit code {code})")


async def run_demo() -> int:
    """Tell the story; 0 if all of it happened."""
    teller = Teller()
    teller.say("pipeline-approver: approve exactly what was decided, exactly once, on the record")
    kube, feldera = KubeServer(), FelderaServer(step_seconds=0.3)
    await kube.start()
    await feldera.start()
    try:
        kube.put(read_crd())
        with tempfile.TemporaryDirectory() as folder:
            kubeconfig = Path(folder) / "kubeconfig"
            await asyncio.to_thread(kubeconfig.write_text, json.dumps(kube.kubeconfig()))
            async with aiohttp.ClientSession() as session:
                cluster = Cluster(kube.url, kubeconfig, session)
                if not cluster.kubectl:
                    teller.say("kubectl is not installed: each command below is made through the API instead")
                async with _operator(kubeconfig, feldera.url, teller):
                    await Demo(teller, cluster, feldera, session).tell()
    except (StepMissed, CommandFailed) as error:
        teller.bad(f"this did not happen: {error}")
        return 1
    finally:
        await feldera.stop()
        await kube.stop()
    teller.say("")
    teller.good("that is the whole story")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(run_demo()))
