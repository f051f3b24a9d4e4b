"""`make demo` as a process: it tells the whole story, or says what did not happen and fails."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

PATIENCE_SECONDS = 120.0
STORY = (
    "1. A pipeline runs in Feldera",
    "✓ the operator sees it running",
    "✓ the operator reports what waits",
    "✓ the risk is named",
    "✓ Feldera was not called",
    "✓ the pipeline has bootstrapped",
    "✓ the checkpoint that makes it durable is complete",
    "✓ Feldera was asked to approve exactly once",
    "✓ the decision names its author",
    "✓ every transition has its Event",
    "✓ that is the whole story",
)


async def demo(path: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pipeline_approver.sandbox.demo"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # Settings of the user that would spoil the story.
        env={**os.environ, "PATH": path, "FELDERA_TOKEN_FILE": "/nowhere", "PIPELINE_APPROVER_POLL_INTERVAL": "x"},
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        output, _ = await process.communicate()
    return process.returncode, output.decode()


def assert_told(text: str) -> None:
    at = 0
    for line in STORY:
        found = text.find(line, at)
        assert found >= 0, (line, text)
        at = found
    assert "\033" not in text
    assert "Traceback" not in text


async def test_the_whole_story_with_kubectl() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("NOT CHECKED: KUBECTL IS NOT INSTALLED, SO THE DEMO IS TOLD WITHOUT IT ONLY")
    code, text = await demo(os.environ["PATH"])
    assert code == 0, text
    assert_told(text)
    assert "approved by alice (field manager kubectl-annotate)" in text


async def test_the_whole_story_without_kubectl(tmp_path: Path) -> None:
    code, text = await demo(str(tmp_path))
    assert code == 0, text
    assert_told(text)
    assert "kubectl is not installed" in text


@pytest.mark.parametrize(("script", "message"), [("exit 1", "kubectl apply"), ("exit 0", "not found")])
async def test_a_step_that_did_not_happen_fails_the_demo(tmp_path: Path, script: str, message: str) -> None:
    (tmp_path / "kubectl").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "kubectl").chmod(0o755)
    code, text = await demo(str(tmp_path))
    assert code == 1
    assert "✗ this did not happen: " in text
    assert message in text.rpartition("did not happen")[2]
    assert "Traceback" not in text
