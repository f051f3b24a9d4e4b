"""`pipeline-approver sandbox` as a process, and the steps that it prints, carried out as they stand there."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

PATIENCE_SECONDS = 60.0
COMMAND = (sys.executable, "-m", "pipeline_approver", "sandbox")


class Sandbox:
    """A sandbox that runs, and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process, text: str) -> None:
        self.process = process
        self.text = text

    def find(self, pattern: str) -> str:
        found = re.search(pattern, self.text)
        assert found is not None, self.text
        return found[1]

    @property
    def kubeconfig(self) -> Path:
        return Path(self.find(r"Kubernetes: (\S+)"))

    @property
    def feldera(self) -> str:
        return self.find(r"Feldera: +(\S+)")

    async def end(self, number: int) -> int:
        self.process.send_signal(number)
        output, errors = await self.process.communicate()
        assert (output, errors) == (b"", b"")
        assert self.process.returncode is not None
        return self.process.returncode


@contextlib.asynccontextmanager
async def sandbox(*arguments: str) -> AsyncIterator[Sandbox]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            text = (await process.stdout.readuntil(b"Ctrl-C ends both.\n")).decode()
        yield Sandbox(process, text)
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


async def refused(*arguments: str, code: int, **environ: str) -> str:
    """What a sandbox says that does not start."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environ},
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        output, errors = await process.communicate()
    assert (process.returncode, output) == (code, b""), errors
    assert b"Traceback" not in errors
    return errors.decode()


async def until(probe: Callable[[], Awaitable[bool]]) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not await probe():
        assert asyncio.get_running_loop().time() < deadline, "it did not come true"
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_both_apis_until_it_is_interrupted(number: int) -> None:
    async with sandbox() as here:
        path = here.kubeconfig
        assert path.stat().st_mode & 0o777 == 0o600
        config: dict[str, Any] = json.loads(path.read_text())
        kube = config["clusters"][0]["cluster"]["server"]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{kube}/apis/pipeline-approver.io/v1alpha1/pipelines") as response:
                assert (await response.json())["items"] == []
            async with session.get(f"{here.feldera}/v0/pipelines") as response:
                assert [row["name"] for row in await response.json()] == ["orders"]
        assert await here.end(number) == 0
        assert not path.exists()


async def test_ports_and_kubeconfig_can_be_chosen(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = tmp_path / "config"
    async with sandbox(f"--kube-port={port}", f"--kubeconfig={path}") as here:
        assert here.kubeconfig == path
        assert json.loads(path.read_text())["clusters"][0]["cluster"]["server"] == f"http://127.0.0.1:{port}"
        text = await refused(f"--kube-port={port}", code=1)
        assert "address already in use" in text
        text = await refused(f"--kubeconfig={path}", code=1)
        assert f"{path} exists and is not overwritten" in text
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kube-port=70000",), "'70000' is no port"),
        (("--feldera-port=x",), "'x' is no port"),
        (("--kube-apiserver", "--kube-port=8080"), "the real one takes a free port"),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
    ],
)
async def test_a_wrong_call_is_explained(arguments: tuple[str, ...], message: str) -> None:
    assert message in await refused(*arguments, code=2)


async def test_a_real_api_server_that_is_not_installed_is_explained(tmp_path: Path) -> None:
    text = await refused("--kube-apiserver", code=1, KUBEBUILDER_ASSETS=str(tmp_path))
    assert f"there is no etcd in {tmp_path}" in text
    assert "KUBEBUILDER_ASSETS" in text


async def test_a_folder_that_does_not_exist_is_explained(tmp_path: Path) -> None:
    text = await refused(f"--kubeconfig={tmp_path / 'no' / 'config'}", code=1)
    assert "No such file or directory" in text


@pytest.mark.parametrize("arguments", [(), pytest.param(("--kube-apiserver",), marks=pytest.mark.e2e)])
async def test_the_printed_steps_lead_to_an_approved_pipeline(arguments: tuple[str, ...], tmp_path: Path) -> None:
    if missing := [tool for tool in ("bash", "curl", "kubectl") if shutil.which(tool) is None]:
        pytest.skip(f"NOT CHECKED: THE STEPS OF THE SANDBOX NEED {', '.join(missing).upper()}")
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environ = {**os.environ, "PATH": path, "HOME": str(tmp_path)}

    async def shell(script: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environ,
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            output, errors = await process.communicate()
        assert process.returncode == 0, (script, errors.decode())
        return output.decode()

    async with sandbox(*arguments) as here:
        steps = re.sub(r"^  ", "", here.text, flags=re.MULTILINE)
        operator = steps[steps.index("export") : steps.index("In a third")]
        apply = steps[steps.index("export", steps.index("In a third")) : steps.index("kubectl get")]
        later = steps[steps.index("kubectl get") : steps.index("Ctrl-C")]
        setup = apply.splitlines()[0]
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", operator.replace("pipeline-approver run", "exec pipeline-approver run --health-port=0")),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environ,
        )
        try:
            assert "pipeline.pipeline-approver.io/orders created" in await shell(apply)
            request = ""

            async def asks() -> bool:
                nonlocal request
                request = await shell(f"{setup}\nkubectl get fpl orders -o jsonpath='{{.status.request.id}}'")
                return bool(request)

            await until(asks)
            shown = await shell(f"{setup}\n{later}".replace("<REQUEST>", request))
            assert "AwaitingApproval" in shown
            assert request in shown

            async def is_recorded() -> bool:
                text = await shell(
                    f"{setup}\nkubectl get fpl orders -o jsonpath='{{.status.checkpoint_sequence_number}}'"
                )
                return text != ""

            await until(is_recorded)
        finally:
            process.terminate()
            _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        assert "approved by annotation (field manager kubectl-annotate)" in errors.decode()
        assert await here.end(signal.SIGINT) == 0
