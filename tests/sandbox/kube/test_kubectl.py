"""kubectl, as people use it on Pipelines: the same on the in-memory server as on a real one."""

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.rawkube import MERGE, PATIENCE_SECONDS, RawKube

PIPELINES = "pipeline-approver.io/v1alpha1"
APPROVE = "pipeline-approver.io/approve"


class Kubectl:
    """kubectl with a kubeconfig and a home of its own."""

    def __init__(self, binary: str, kubeconfig: Path, home: Path) -> None:
        self._command = [binary, f"--kubeconfig={kubeconfig}", "--request-timeout=20s"]
        self._environ = {**os.environ, "HOME": str(home)}

    async def __call__(self, *arguments: str, stdin: Any = None, fails: bool = False, **environ: str) -> str:
        """Run it; what it printed. `stdin` is text or a manifest."""
        process = await self.start(*arguments, **environ)
        text = stdin if isinstance(stdin, str) else "" if stdin is None else yaml.safe_dump(stdin)
        async with asyncio.timeout(PATIENCE_SECONDS):
            output, _ = await process.communicate(text.encode())
        assert bool(process.returncode) is fails, output.decode()
        return output.decode().rstrip()

    async def start(self, *arguments: str, **environ: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**self._environ, **environ},
        )

    @contextlib.asynccontextmanager
    async def running(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run it until the end of the block at most."""
        process = await self.start(*arguments)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.fixture
def kubectl(kubeconfig: Path, tmp_path: Path) -> Kubectl:
    binary = shutil.which("kubectl")
    if binary is None:
        pytest.skip("NOT CHECKED: KUBECTL IS NOT INSTALLED, SO NO STEP OF A KUBECTL USER IS PROVEN HERE")
    return Kubectl(binary, kubeconfig, tmp_path)


def pipeline(name: str = "orders", *, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"annotations": annotations} if annotations else {})}
    return {"apiVersion": PIPELINES, "kind": "Pipeline", "metadata": metadata, "spec": spec}


def condition(type_: str, status: str, message: str = "as it is") -> dict[str, str]:
    at = "2026-01-01T00:00:00Z"
    return {"type": type_, "status": status, "reason": "Tested", "message": message, "lastTransitionTime": at}


async def set_status(api: RawKube, name: str = "orders", **status: Any) -> None:
    path = f"/apis/{PIPELINES}/namespaces/{api.namespace}/pipelines/{name}/status"
    answer = await api.call("PATCH", path, {"status": status}, kind=MERGE)
    assert answer.status == 200, answer.body


def cells(table: str) -> list[list[str]]:
    """The words in the lines of a table."""
    return [line.split() for line in table.splitlines()]


async def test_apply_creates_configures_and_leaves_alone(kubectl: Kubectl) -> None:
    assert await kubectl("apply", "-f", "-", stdin=pipeline()) == "pipeline.pipeline-approver.io/orders created"
    assert (await kubectl("apply", "-f", "-", stdin=pipeline())).endswith("orders unchanged")
    changed = pipeline(annotations={APPROVE: "true"}, suspend=True)
    assert (await kubectl("apply", "-f", "-", stdin=changed)).endswith("orders configured")
    found = json.loads(await kubectl("get", "pipeline", "orders", "-o", "json"))
    assert (found["spec"]["suspend"], found["metadata"]["annotations"][APPROVE]) == (True, "true")
    assert (await kubectl("apply", "-f", "-", stdin=pipeline())).endswith("orders configured")
    found = json.loads(await kubectl("get", "pipeline", "orders", "-o", "json"))
    assert found["spec"]["suspend"] is False
    assert APPROVE not in found["metadata"]["annotations"]


async def test_server_side_apply_removes_what_it_no_longer_has(kubectl: Kubectl) -> None:
    apply = ("apply", "--server-side", "--field-manager=git", "-f", "-")
    out = await kubectl(*apply, stdin=pipeline(annotations={APPROVE: "true"}, suspend=True))
    assert out.endswith("orders serverside-applied")
    await kubectl("annotate", "fpl", "orders", "pipeline-approver.io/reason=reviewed")
    await kubectl(*apply, stdin=pipeline())
    found = json.loads(await kubectl("get", "pipeline", "orders", "-o", "json"))
    assert found["metadata"]["annotations"] == {"pipeline-approver.io/reason": "reviewed"}
    assert found["spec"]["suspend"] is False
    refused = await kubectl(*apply, stdin=pipeline(annotations={"pipeline-approver.io/reason": "x"}), fails=True)
    assert 'conflict with "kubectl-annotate"' in refused
    forced = pipeline(annotations={"pipeline-approver.io/reason": "x"})
    await kubectl(*apply, "--force-conflicts", stdin=forced)


async def test_apply_by_the_server_takes_over_from_apply_by_the_client(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=pipeline(annotations={APPROVE: "true"}))
    await kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=pipeline(annotations={APPROVE: "x"}))
    found = json.loads(await kubectl("get", "pipeline", "orders", "-o", "json"))
    assert found["metadata"]["annotations"][APPROVE] == "x"


async def test_annotations_and_labels_are_set_and_removed(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=pipeline())
    out = await kubectl("annotate", "fpl", "orders", f"{APPROVE}=3f9a1c07be42")
    assert out == "pipeline.pipeline-approver.io/orders annotated"
    assert "already has a value" in await kubectl("annotate", "fpl", "orders", f"{APPROVE}=x", fails=True)
    await kubectl("annotate", "fpl", "orders", "--overwrite", f"{APPROVE}=x")
    template = "{.metadata.annotations.pipeline-approver\\.io/approve}"
    assert await kubectl("get", "fpl", "orders", "-o", f"jsonpath={template}") == "x"
    await kubectl("annotate", "fpl", "orders", f"{APPROVE}-")
    assert await kubectl("get", "fpl", "orders", "-o", f"jsonpath={template}") == ""
    await kubectl("label", "fpl", "orders", "team=blue")
    assert await kubectl("get", "fpl", "-l", "team=blue", "-o", "name") == "pipeline.pipeline-approver.io/orders"
    assert await kubectl("get", "fpl", "-l", "team=red", "-o", "name") == ""


async def test_the_columns_tell_what_waits(kubectl: Kubectl, api: RawKube) -> None:
    await kubectl("create", "-f", "-", stdin=pipeline())
    assert cells(await kubectl("get", "fpl"))[1][0] == "orders"
    request = {
        "id": "3f9a1c07be42",
        "digest": f"sha256:{'0' * 64}",
        "since": "2026-01-01T00:00:00Z",
        "risk": "Additive",
        "summary": "1-view-added",
    }
    ready = condition("Ready", "False", "waits")
    await set_status(api, state="AwaitingApproval", request=request, checkpoint_sequence_number=42, conditions=[ready])
    head, row = cells(await kubectl("get", "fpl"))
    assert head == ["NAME", "STATUS", "READY", "REQUEST", "RISK", "CHECKPOINT", "AGE"]
    assert row[:6] == ["orders", "AwaitingApproval", "False", "3f9a1c07be42", "Additive", "42"]
    head, row = cells(await kubectl("get", "pipelines", "-o", "wide"))
    assert head[7:] == ["CHANGE", "DECIDED-BY", "MESSAGE"]
    assert row[7:] == ["1-view-added", "waits"]
    for what in (("get", "feldera"), ("get", "fpl", "-A"), ("get", "pipeline.pipeline-approver.io", "orders")):
        assert "AwaitingApproval" in await kubectl(*what)
    assert "checkpoint_sequence_number: 42" in await kubectl("get", "fpl", "orders", "-o", "yaml")
    found = await kubectl("get", "fpl", "--field-selector", "metadata.name=orders", "--no-headers")
    assert found.split()[0] == "orders"


async def test_what_waits_can_be_selected(kubectl: Kubectl, api: RawKube) -> None:
    api.needs((1, 30), "selectable fields")
    for name in ("orders", "payments"):
        await kubectl("create", "-f", "-", stdin=pipeline(name))
    await set_status(api, "payments", state="AwaitingApproval")
    found = await kubectl("get", "fpl", "-A", "--field-selector", "status.state=AwaitingApproval", "-o", "name")
    assert found == "pipeline.pipeline-approver.io/payments"


async def test_a_watch_prints_every_change(kubectl: Kubectl, api: RawKube) -> None:
    await kubectl("create", "-f", "-", stdin=pipeline())
    async with kubectl.running("get", "fpl", "-w") as process:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await process.stdout.readline()).split()[0] == b"NAME"
            assert (await process.stdout.readline()).split()[0] == b"orders"
            await set_status(api, state="Running")
            assert (await process.stdout.readline()).split()[:2] == [b"orders", b"Running"]


@pytest.mark.parametrize("what", ["--for=condition=Ready", "--for=jsonpath={.status.state}=Running"])
async def test_waiting_ends_when_it_is_so(kubectl: Kubectl, api: RawKube, what: str) -> None:
    await kubectl("create", "-f", "-", stdin=pipeline())
    async with kubectl.running("wait", what, "fpl/orders", "--timeout=20s") as process:
        await set_status(api, state="Stopped", observedGeneration=1, conditions=[condition("Ready", "False")])
        await set_status(api, state="Running", conditions=[condition("Ready", "True")])
        output, _ = await process.communicate()
    assert process.returncode == 0, output
    assert b"condition met" in output
    await kubectl("wait", "--for=condition=Ready=False", "fpl/orders", "--timeout=1s", fails=True)


async def test_waiting_for_an_end(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=pipeline())
    async with kubectl.running("wait", "--for=delete", "fpl/orders", "--timeout=20s") as process:
        await kubectl("delete", "fpl", "orders")
        await process.communicate()
    assert process.returncode == 0


async def test_describe_shows_the_status_and_the_events(kubectl: Kubectl, api: RawKube) -> None:
    await kubectl("create", "-f", "-", stdin=pipeline())
    uid = await kubectl("get", "fpl", "orders", "-o", "jsonpath={.metadata.uid}")
    await set_status(api, state="Running", conditions=[condition("Ready", "True", "runs well")])
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "orders.1", "namespace": api.namespace},
        "involvedObject": {
            "apiVersion": PIPELINES,
            "kind": "Pipeline",
            "namespace": api.namespace,
            "name": "orders",
            "uid": uid,
        },
        "type": "Warning",
        "reason": "AnnotationIgnored",
        "message": "it was ignored",
        "count": 3,
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:05:00Z",
        "source": {"component": "pipeline-approver"},
    }
    assert (await api.call("POST", f"{api.core}/events", event)).status == 201
    text = await kubectl("describe", "fpl", "orders")
    assert "runs well" in text
    assert "AnnotationIgnored" in text
    assert "(x3 over" in text
    head, row = cells(await kubectl("get", "events"))
    assert head == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert row[1:] == ["Warning", "AnnotationIgnored", "pipeline/orders", "it", "was", "ignored"]
    assert "it was ignored" in await kubectl("events", "--for", "pipeline/orders")


async def test_edit_writes_back_what_the_editor_left(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=pipeline(suspend=False))
    out = await kubectl("edit", "fpl", "orders", EDITOR="sed -i s/suspend:.false/suspend:\\ true/")
    assert out.endswith("orders edited")
    assert await kubectl("get", "fpl", "orders", "-o", "jsonpath={.spec.suspend}") == "true"
    out = await kubectl("edit", "fpl", "orders", EDITOR="true")
    assert "no changes made" in out


async def test_delete_waits_and_says_when_there_is_nothing(kubectl: Kubectl) -> None:
    for name in ("orders", "payments"):
        await kubectl("create", "-f", "-", stdin=pipeline(name))
    assert 'pipeline.pipeline-approver.io "orders" deleted' in await kubectl("delete", "fpl", "orders")
    assert "NotFound" in await kubectl("delete", "fpl", "orders", fails=True)
    await kubectl("delete", "fpl", "--all")
    assert "No resources found" in await kubectl("get", "fpl")


async def test_explain_teaches_the_fields(kubectl: Kubectl) -> None:
    text = await kubectl("explain", "pipeline.spec")
    assert "connectionSecretRef" in text
    assert "suspend" in text
    text = await kubectl("explain", "pipeline.spec.outputs")
    assert "output connectors" in text
    assert "A Pipeline stands for one pipeline" in await kubectl("explain", "fpl")


async def test_a_status_can_be_patched_apart(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=pipeline())
    patch = json.dumps({"status": {"state": "Running"}, "spec": {"suspend": True}})
    await kubectl("patch", "fpl", "orders", "--subresource=status", "--type=merge", "-p", patch)
    shown = await kubectl("get", "fpl", "orders", "-o", "jsonpath={.status.state} {.spec.suspend}")
    assert shown.split() in (["Running"], ["Running", "false"])
    await kubectl("patch", "fpl", "orders", "--type=json", "-p", '[{"op":"add","path":"/spec/suspend","value":true}]')
    assert await kubectl("get", "fpl", "orders", "-o", "jsonpath={.status.state} {.spec.suspend}") == "Running true"


async def test_a_stale_replacement_conflicts(kubectl: Kubectl) -> None:
    await kubectl("create", "-f", "-", stdin=pipeline())
    found = yaml.safe_load(await kubectl("get", "fpl", "orders", "-o", "yaml"))
    await kubectl("annotate", "fpl", "orders", f"{APPROVE}=true")
    assert "Conflict" in await kubectl("replace", "-f", "-", stdin=found, fails=True)
    assert "AlreadyExists" in await kubectl("create", "-f", "-", stdin=pipeline(), fails=True)


async def test_a_mistake_in_a_manifest_is_named(kubectl: Kubectl) -> None:
    text = await kubectl("apply", "-f", "-", stdin=pipeline(outputs="Loud"), fails=True)
    assert "spec.outputs: Unsupported value" in text
    text = await kubectl("apply", "-f", "-", stdin=pipeline(suspended=True), fails=True)
    assert "unknown field" in text
    assert "suspended" in text


async def test_diff_shows_what_apply_would_do(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=pipeline())
    assert await kubectl("diff", "-f", "-", stdin=pipeline()) == ""
    text = await kubectl("diff", "-f", "-", stdin=pipeline(suspend=True), fails=True)
    assert "+  suspend: true" in text
    assert await kubectl("get", "fpl", "orders", "-o", "jsonpath={.metadata.generation}") == "1"


async def test_secrets_namespaces_and_the_like_can_be_created(kubectl: Kubectl, api: RawKube) -> None:
    connection = ("--type=pipeline-approver.io/connection", "--from-literal=url=http://feldera:8080")
    await kubectl("create", "secret", "generic", "feldera", *connection)
    assert await kubectl("get", "secret", "feldera", "-o", "jsonpath={.type} {.data.url}") == (
        "pipeline-approver.io/connection aHR0cDovL2ZlbGRlcmE6ODA4MA=="
    )
    await kubectl("create", "configmap", "c", "--from-literal=a=b")
    await kubectl("create", "serviceaccount", "s")
    for kind, name in (("secret", "feldera"), ("cm", "c"), ("sa", "s")):
        assert cells(await kubectl("get", kind, name))[1][0] == name
    other = f"{api.namespace}-other"
    await kubectl("create", "namespace", other)
    assert cells(await kubectl("get", "ns", other))[1][:2] == [other, "Active"]
    await kubectl("create", "-n", other, "-f", "-", stdin=pipeline())
    assert "orders" in await kubectl("get", "fpl", "-n", other)
    await kubectl("delete", "namespace", other, "--wait=false")


async def test_everybody_can_ask_what_he_may(kubectl: Kubectl, api: RawKube) -> None:
    assert await kubectl("auth", "can-i", "approve", "pipelines.pipeline-approver.io") == "yes"
    resources = await kubectl("api-resources", "--api-group=pipeline-approver.io", "--no-headers")
    assert ["pipelines", "fpl", PIPELINES, "true", "Pipeline"] in cells(resources)
    assert "Server Version" in await kubectl("version")
    api.needs((1, 28), "self subject review")
    assert "admin" in await kubectl("auth", "whoami")


async def test_a_user_can_be_somebody_else(kubectl: Kubectl, api: RawKube) -> None:
    await kubectl("create", "-f", "-", stdin=pipeline())
    refused = await kubectl("--as=stranger", "annotate", "fpl", "orders", f"{APPROVE}=true", fails=True)
    assert 'User "stranger" cannot get resource "pipelines"' in refused
    assert await kubectl("--as=stranger", "auth", "can-i", "approve", "fpl", fails=True) == "no"
    api.needs((1, 28), "self subject review")
    assert "stranger" in await kubectl("--as=stranger", "auth", "whoami")
