"""CI runs what people run, pins what it did not write, and may do next to nothing."""

import pathlib
import re
import subprocess
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from pipeline_approver import __version__

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def load(file: pathlib.Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text()))


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


def commands() -> list[str]:
    return [step["run"] for file in FILES for step in steps(load(file)) if "run" in step]


def make_targets(text: str) -> set[str]:
    return set(re.findall(r"^\s*make ([a-z0-9-]+)", text, re.MULTILINE))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_actions_are_pinned_to_commits_with_the_version_beside(file: pathlib.Path) -> None:
    lines = [line for line in file.read_text().splitlines() if re.match(r"\s*(- )?uses:", line)]
    assert lines
    for line in lines:
        assert re.fullmatch(r"\s*(- )?uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    # One action, one version.
    pins = {line.split("uses: ")[1] for line in lines}
    assert len({pin.split("@")[0] for pin in pins}) == len(pins)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_jobs_may_read_the_repository_and_nothing_else_and_end_some_time(file: pathlib.Path) -> None:
    workflow = load(file)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"] == {"contents": "read"}
        assert job["timeout-minutes"] <= 60
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_it_runs_make_targets_that_exist_and_all_that_matter() -> None:
    used = set().union(*map(make_targets, commands()))
    assert used <= TARGETS
    assert {"lint", "test", "e2e", "cluster-test", "chart", "demo"} <= used


def test_what_runs_here_is_part_of_it() -> None:
    local = make_targets((ROOT / ".ci" / "run").read_text())
    assert {"lint", "test", "e2e"} <= local <= TARGETS


def test_every_supported_python_is_tried() -> None:
    (ci,) = FILES
    versions = load(ci)["jobs"]["test"]["strategy"]["matrix"]["python"]
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert versions == [f"3.{minor}" for minor in range(int(oldest.split(".")[1]), 15)]


def test_policies_are_tried_on_versions_that_have_them() -> None:
    (ci,) = FILES
    jobs = load(ci)["jobs"]
    versions = [version.removesuffix(".x") for version in jobs["e2e"]["strategy"]["matrix"]["kubernetes"]]
    images = [node["image"] for node in jobs["kind"]["strategy"]["matrix"]["node"]]
    assert all(re.fullmatch(r"kindest/node:v1\.\d+\.\d+@sha256:[0-9a-f]{64}", image) for image in images)
    for minors in ([int(v.split(".")[1]) for v in versions], [int(image.split(".")[1]) for image in images]):
        assert min(minors) >= 30
        assert max(minors) >= 36
        assert any(minor < 36 for minor in minors)


def test_the_image_that_is_loaded_is_the_one_in_the_manifests() -> None:
    (build,) = (command for command in commands() if "docker build " in command)
    assert build.count(f"pipeline-approver:{__version__}") == 2


def test_the_image_is_built_for_both_architectures_with_its_papers() -> None:
    (ci,) = FILES
    (build,) = (step for step in steps(load(ci)) if step.get("uses", "").startswith("docker/build-push-action@"))
    assert build["with"]["platforms"] == "linux/amd64,linux/arm64"
    assert (build["with"]["sbom"], build["with"]["provenance"]) == (True, "mode=max")
    assert (ROOT / build["with"]["file"]).is_file()


def test_new_versions_wait_a_week() -> None:
    updates = load(ROOT / ".github" / "dependabot.yml")["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "docker", "pip"}
    assert all(update["cooldown"]["default-days"] >= 7 for update in updates)


def test_a_commit_is_checked_as_in_ci() -> None:
    (repo,) = load(ROOT / ".pre-commit-config.yaml")["repos"]
    (hook,) = repo["hooks"]
    assert (repo["repo"], hook["entry"]) == ("local", "make lint")


@pytest.mark.parametrize("target", sorted(TARGETS - {"chart"}))
def test_every_target_is_told_of_and_phony(target: str) -> None:
    text = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert target in phony.split()
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
