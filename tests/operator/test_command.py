"""The command as people run it: what it says, where, and with which exit code."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from pipeline_approver.sandbox.feldera import FelderaServer, pipeline_diff
from support.stage import Stage, wait_until

DIFF = pipeline_diff(added_views=["daily"])
KEY = "apikey:" + "s3cr3t" * 8
STORY = ["ApprovalRequired", "Approved", "Bootstrapping", "Bootstrapped", "CheckpointRecorded", "CheckpointComplete"]


async def run(*arguments: str, environ: dict[str, str] | None = None) -> tuple[int, str]:
    """The exit code, and what was written."""
    base = {key: value for key, value in os.environ.items() if key not in ("KUBECONFIG", "FELDERA_URL")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pipeline_approver",
        *arguments,
        env={**base, "HOME": "/nonexistent", **(environ or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.mark.parametrize(
    ("arguments", "environ", "told"),
    [
        (("--poll-interval", "never"), {}, "--poll-interval: 'never' is not a number of seconds"),
        (("--poll-interval", "0"), {}, "between 0.05 and 3600"),
        (("--health-port", "70000"), {}, "not a port"),
        (("--one-shot", "sometimes"), {}, "none of any, waiting, never"),
        (("-n", "Not_A_Namespace"), {}, "'Not_A_Namespace' is not the name of a namespace"),
        (("--settle-time", "5"), {}, "must be longer than --approve-timeout"),
        (("--colour", "red"), {}, "unrecognized arguments: --colour red"),
        ((), {"PIPELINE_APPROVER_LOG_LEVEL": "loud"}, "PIPELINE_APPROVER_LOG_LEVEL: 'loud' is none of"),
        ((), {"FELDERA_URL": "feldera:8080"}, "FELDERA_URL is not a url that begins with http"),
        ((), {"FELDERA_URL": f"http://u:{KEY}@feldera"}, "take them out"),
        ((), {"FELDERA_API_KEY": KEY}, "FELDERA_URL is missing or empty"),
        ((), {"FELDERA_URL": "http://f", "FELDERA_API_KEY": KEY, "FELDERA_TOKEN_FILE": "/t"}, "exclude each other"),
        ((), {"FELDERA_URL": "https://f", "FELDERA_CA_FILE": "/nowhere"}, "FELDERA_CA_FILE cannot be read"),
    ],
)
async def test_a_wrong_call_says_what_is_wrong_and_ends_with_2(
    arguments: tuple[str, ...], environ: dict[str, str], told: str
) -> None:
    code, output = await run("run", *arguments, environ=environ)
    assert code == 2
    assert told in output
    assert "Traceback" not in output
    assert KEY not in output


@pytest.mark.parametrize("kubeconfig", [None, "nonsense: [", "null"])
async def test_without_a_usable_cluster_it_says_what_to_set(tmp_path: Path, kubeconfig: str | None) -> None:
    file = tmp_path / "kubeconfig"
    if kubeconfig is not None:
        file.write_text(kubeconfig)
    code, output = await run("run", environ={"KUBECONFIG": str(file)})
    assert code == 1
    assert "set KUBECONFIG to a usable kubeconfig" in output
    assert "Traceback" not in output


async def test_help_and_version_teach(tmp_path: Path) -> None:
    code, output = await run("run", "--help")
    assert code == 0
    assert "FELDERA_URL" in output
    code, output = await run("--version")
    assert (code, output.startswith("pipeline-approver 0.")) == (0, True)
    code, output = await run()
    assert code == 2
    assert "usage: pipeline-approver" in output


@pytest.mark.parametrize("form", ["text", "json"])
async def test_it_logs_one_line_per_transition_and_never_a_secret(stage: Stage, form: str) -> None:
    stage.feldera.gate.api_keys = {KEY: "write"}
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    stage.create("orders")
    operator = await stage.process("--log-format", form, "--log-level", "debug", environ={"FELDERA_API_KEY": KEY})
    request = await stage.request("orders")
    stage.annotate("orders", approve=request["id"])
    await stage.reach("orders", lambda status: status.get("decision", {}).get("checkpoint") == "Durable")
    await stage.polls(5)
    code, output = await operator.end()
    assert code == 0
    assert KEY not in output
    assert "Traceback" not in output
    lines = output.splitlines()
    if form == "json":
        entries = [json.loads(line) for line in lines]
        reasons = [entry["reason"] for entry in entries if entry.get("pipeline") == "default/orders"]
        assert all(entry["level"] in ("debug", "info") for entry in entries)
    else:
        reasons = [line.split("default/orders ")[1].split(":")[0] for line in lines if " default/orders " in line]
    assert reasons == STORY


async def test_a_server_that_echoes_the_key_does_not_make_it_public(stage: Stage) -> None:
    echo = FelderaServer(api_keys={}, lag_seconds=0.01)
    await echo.start()
    try:
        echo.faults.add(("*", "*"), kind="status", status=500, message=f"bad header: Bearer {KEY}", times=None)
        stage.create("orders")
        operator = await stage.process(
            "--log-level", "debug", environ={"FELDERA_URL": echo.url, "FELDERA_API_KEY": KEY}
        )
        await stage.reach("orders", lambda _: stage.condition("orders", "Connected").get("status") == "False")
        await wait_until(lambda: stage.events("orders"))
        code, output = await operator.end()
    finally:
        await echo.stop()
    assert code == 0
    for text in (output, str(stage.kube.list("pipelines")), str(stage.kube.list("events"))):
        assert KEY not in text


async def test_the_health_port_in_use_is_named(stage: Stage) -> None:
    server = await asyncio.start_server(lambda *_: None, "0.0.0.0", 0)
    port = server.sockets[0].getsockname()[1]
    operator = await stage.process("--health-port", str(port))
    code = await operator.process.wait()
    _, output = await operator.end()
    server.close()
    assert code == 1
    assert f"nothing can be served on port {port}: it is in use" in output
    assert "Traceback" not in output
