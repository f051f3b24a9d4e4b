"""`pipeline-approver digest`: the digest before the rollout is the one that is asked for afterwards."""

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline_approver import cli
from support.cases import make_diff
from support.feldera import KEY
from support.rollout import AFTER, BEFORE, Feldera

if TYPE_CHECKING:
    from support.stage import Stage

Done = subprocess.CompletedProcess[str]
DIFF = make_diff(added_views=["big_orders"], modified_views=["totals", "by_region"])


async def run(*arguments: object, **environ: str) -> Done:
    """The command as a process of its own, with only this of Feldera in its environment."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("FELDERA_")}
    command = [sys.executable, "-m", "pipeline_approver", "digest", *map(str, arguments)]
    return await asyncio.to_thread(
        subprocess.run, command, env={**clean, **environ}, capture_output=True, text=True, check=False
    )


def compute(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The digest from files alone."""
    assert cli.main(["digest", *map(str, arguments)]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    return output


@pytest.fixture
def files(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file into a folder of the test's own, to the last byte."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode())
        return path

    return write


ROLLOUTS: list[tuple[str, list[str], dict[str, Any], dict[str, str]]] = [
    ("a changed program", [], {}, {}),
    ("silently", ["--outputs", "Silent"], {}, {"silent_bootstrap": "true"}),
    ("with functions", ["--udf-rust", "udf.rs", "--udf-toml", "udf.toml"], {"udf_rust": "fn one() {}"}, {}),
    ("without functions", ["--udf-rust", "none.rs", "--udf-toml", "none.toml"], {"udf_rust": "", "udf_toml": ""}, {}),
]


@pytest.mark.parametrize(
    ("arguments", "fields", "flags"), [row[1:] for row in ROLLOUTS], ids=[row[0] for row in ROLLOUTS]
)
async def test_the_digest_is_the_one_that_is_asked_for_after_the_rollout(
    stage: "Stage",
    files: Callable[..., Path],
    tmp_path: Path,
    arguments: list[str],
    fields: dict[str, Any],
    flags: dict[str, str],
) -> None:
    stage.feldera.add("orders", program=BEFORE, udf_rust="fn two() {}", udf_toml="[dependencies]")
    program = files("orders.sql", AFTER)
    files("udf.rs", "fn one() {}")
    files("udf.toml", "[dependencies]")
    files("none.rs", "")
    files("none.toml", "")
    arguments = [str(tmp_path / word) if "." in word else word for word in arguments]
    async with Feldera(stage.feldera.url, "orders") as feldera:
        diff = files("diff.json", json.dumps(await feldera.find_diff(program_code=AFTER)))
        asked = await run("--program", program, "--pipeline", "orders", *arguments, FELDERA_URL=stage.feldera.url)
        assert (asked.returncode, asked.stderr) == (0, "")
        digest = asked.stdout.removesuffix("\n")
        if fields or "--outputs" in arguments:
            # Everything that goes into the digest is given, so that a file does as well.
            given = (
                arguments
                if fields
                else [*arguments, "--udf-rust", tmp_path / "kept.rs", "--udf-toml", tmp_path / "udf.toml"]
            )
            files("kept.rs", "fn two() {}")
            assert (await run("--program", program, "--diff", diff, *given)).stdout == asked.stdout
        await feldera.edit(program_code=AFTER, **fields)
        await feldera.start(**flags)
        async with stage.operator():
            # Approval and change come together: nobody has seen the request before.
            stage.create("orders", annotations={"approve": digest})
            decision = await stage.outcome("orders", "Bootstrapped")
    assert decision["digest"] == digest
    [approval] = stage.feldera.approvals
    assert approval.effective


async def test_a_digest_against_another_baseline_approves_nothing(stage: "Stage", files: Callable[..., Path]) -> None:
    """An edit that was never checkpointed lies between: /diff does not know the checkpoint, the approval does."""
    stage.feldera.add("orders", program=BEFORE)
    program = files("orders.sql", AFTER)
    async with Feldera(stage.feldera.url, "orders") as feldera:
        await feldera.edit(program_code=AFTER.replace("COUNT(*)", "MAX(id)"))
        digest = (await run("--program", program, "--pipeline", "orders", FELDERA_URL=stage.feldera.url)).stdout.strip()
        await feldera.edit(program_code=AFTER)
        await feldera.start()
        async with stage.operator():
            stage.create("orders", annotations={"approve": digest})
            request = await stage.request("orders")
            assert request["digest"] != digest
            ignored = await stage.reach("orders", lambda status: status.get("ignored"))
    assert ignored[0]["reason"] == "OtherChange"
    assert request["digest"] in ignored[0]["message"]
    assert not stage.feldera.approvals


def test_a_difference_in_a_file_and_on_standard_input_are_the_same(
    files: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program, diff = files("orders.sql", AFTER), files("diff.json", DIFF)
    one = compute(capsys, "--program", program, "--diff", diff)
    assert len(one) == len("sha256:") + 64 + 1
    monkeypatch.setattr("sys.stdin", io.StringIO(DIFF))
    assert compute(capsys, "--program", program, "--diff", "-") == one
    # As Feldera gives it in a pipeline that waits.
    details = files("details.json", json.dumps({"approval_diff": json.loads(DIFF)}))
    assert compute(capsys, "--program", program, "--diff", details) == one


def test_the_order_of_names_does_not_matter_and_every_byte_of_the_sources_does(
    files: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    diff, other = (
        files("diff.json", DIFF),
        make_diff(added_views=["big_orders"], modified_views=["by_region", "totals"]),
    )
    texts = {"same": AFTER, "no last line end": AFTER.removesuffix("\n"), "CR LF": AFTER.replace("\n", "\r\n")}
    digests = {name: compute(capsys, "--program", files("p", text), "--diff", diff) for name, text in texts.items()}
    digests["Silent"] = compute(capsys, "--program", files("p", AFTER), "--diff", diff, "--outputs", "Silent")
    digests["functions"] = compute(
        capsys, "--program", files("p", AFTER), "--diff", diff, "--udf-rust", files("u", "x")
    )
    assert len(set(digests.values())) == len(digests)
    assert compute(capsys, "--program", files("p", AFTER), "--diff", files("other.json", other)) == digests["same"]


async def test_explaining_leaves_standard_output_to_the_digest(stage: "Stage", files: Callable[..., Path]) -> None:
    stage.feldera.add("orders", program=BEFORE)
    arguments = ("--program", files("orders.sql", AFTER), "--pipeline", "orders")
    plain = await run(*arguments, FELDERA_URL=stage.feldera.url)
    explained = await run(*arguments, "--explain", FELDERA_URL=stage.feldera.url)
    assert explained.stdout == plain.stdout
    assert explained.stderr.splitlines() == [
        "Reemits: 1 view added, 1 view modified; outputs Emit",
        "- modified view totals feeds kafka_out",
        "- added view big_orders",
    ]


@pytest.mark.parametrize(
    ("diff", "told"),
    [
        (make_diff(), "nothing differs from the program that is configured"),
        ('{"program_diff": null, "program_diff_error": "no IR"}', "Feldera could not compute the difference"),
    ],
)
def test_a_digest_of_no_use_comes_with_a_warning(
    files: Callable[..., Path], capsys: pytest.CaptureFixture[str], diff: str, told: str
) -> None:
    arguments = ["--program", str(files("p", AFTER)), "--diff", str(files("d", diff))]
    assert cli.main(["digest", *arguments]) == 0
    output, errors = capsys.readouterr()
    assert output.startswith("sha256:")
    assert told in errors


FILES = {"orders.sql": AFTER, "diff.json": DIFF, "html": "<html>", "list": "[]", "bad.sql": "\udcff"}
WRONGLY_CALLED = [
    (
        "no such program",
        ["--program", "missing.sql", "--diff", "diff.json"],
        "missing.sql cannot be read: No such file",
    ),
    ("a folder", ["--program", ".", "--diff", "diff.json"], "cannot be read: Is a directory"),
    ("no text", ["--program", "bad.sql", "--diff", "diff.json"], "bad.sql is not UTF-8 text"),
    ("no such functions", ["--program", "orders.sql", "--diff", "diff.json", "--udf-rust", "u"], "u cannot be read"),
    ("no such difference", ["--program", "orders.sql", "--diff", "missing"], "missing cannot be read"),
    (
        "no JSON",
        ["--program", "orders.sql", "--diff", "html"],
        "html is not JSON; give what POST /v0/pipelines/<name>/diff",
    ),
    ("no difference", ["--program", "orders.sql", "--diff", "list"], "list is not a difference"),
    ("a saved error", ["--program", "orders.sql", "--diff", "error"], "Feldera names it: no such pipeline"),
    ("deep", ["--program", "orders.sql", "--diff", "deep"], "deep is not"),
    ("nothing to compare with", ["--program", "orders.sql"], "--diff --pipeline is required"),
    ("both", ["--program", "orders.sql", "--diff", "diff.json", "--pipeline", "x"], "not allowed with"),
    ("no program", ["--diff", "diff.json"], "--program"),
    ("unknown outputs", ["--program", "orders.sql", "--diff", "diff.json", "--outputs", "silent"], "'Emit', 'Silent'"),
    (
        "a version without Feldera",
        ["--program", "orders.sql", "--diff", "diff.json", "--runtime-version", "1"],
        "--pipeline",
    ),
    ("no Feldera", ["--program", "orders.sql", "--pipeline", "orders"], "FELDERA_URL is not set"),
]


@pytest.mark.parametrize(
    ("arguments", "told"), [row[1:] for row in WRONGLY_CALLED], ids=[row[0] for row in WRONGLY_CALLED]
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    told: str,
) -> None:
    for variable in [name for name in os.environ if name.startswith("FELDERA_")]:
        monkeypatch.delenv(variable)
    contents = {**FILES, "error": json.dumps({"message": "no such pipeline", "error_code": "X"}), "deep": "[" * 100_000}
    for name, text in contents.items():
        (tmp_path / name).write_bytes(text.encode("utf-8", errors="surrogateescape"))
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main(["digest", *arguments])
    except SystemExit as exit_:
        code = exit_.code  # type: ignore[assignment]
    output, errors = capsys.readouterr()
    assert (code, output) == (2, "")
    assert told in errors
    assert "Traceback" not in errors


REFUSALS: list[tuple[str, str, dict[str, Any], dict[str, str], str]] = [
    ("no such pipeline", "other", {}, {}, "UnknownPipelineName"),
    ("does not compile", "orders", {"program": "SYNTAX ERROR"}, {}, "InvalidNewProgramSql: The new program failed"),
    ("is being compiled", "orders", {"program_status": "Pending"}, {}, "wait until the program that is configured"),
    ("a wrong key", "orders", {}, {"FELDERA_API_KEY": KEY}, "does not accept the key or token (401)"),
    ("no key", "orders", {}, {"FELDERA_API_KEY": ""}, "FELDERA_API_KEY"),
    ("a key that may only read", "orders", {}, {"FELDERA_API_KEY": "apikey:reader"}, "needs the role write"),
    ("nobody there", "orders", {}, {"FELDERA_URL": "http://127.0.0.1:9"}, "the connection is refused"),
]


@pytest.mark.parametrize(
    ("pipeline", "row", "environ", "told"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS]
)
async def test_why_feldera_named_no_difference_is_said(
    stage: "Stage", files: Callable[..., Path], pipeline: str, row: dict[str, Any], environ: dict[str, str], told: str
) -> None:
    stage.feldera.gate.api_keys = {"apikey:writer": "write", "apikey:reader": "read"}
    added = stage.feldera.add("orders", program=BEFORE)
    added.row.program_status = row.get("program_status", "Success")
    program = files("orders.sql", row.get("program", AFTER))
    known = {"FELDERA_URL": stage.feldera.url, "FELDERA_API_KEY": "apikey:writer"}
    done = await run("--program", program, "--pipeline", pipeline, **{**known, **environ})
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not any(key in done.stderr for key in ("apikey:writer", "apikey:reader", KEY))


async def test_a_feldera_without_the_endpoint_is_told_from_a_wrong_url(
    stage: "Stage", files: Callable[..., Path]
) -> None:
    stage.feldera.add("orders", program=BEFORE)
    stage.feldera.faults.add(("POST", "diff"), kind="html", status=404)
    done = await run("--program", files("p", AFTER), "--pipeline", "orders", FELDERA_URL=stage.feldera.url)
    assert done.returncode == 1
    assert "since 0.324: with an older one, give the difference with --diff" in done.stderr
