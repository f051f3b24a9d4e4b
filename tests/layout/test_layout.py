"""How the repository is laid out, and that it keeps its promises about itself."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "operator" / "pipeline_approver"
LONGEST_FILE = 330


def test_the_source_root_is_never_a_package() -> None:
    """A package called operator would hide the standard library's."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    code = "import operator, collections; assert operator.eq(1, 1)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_tells_one_story_and_is_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith('"""'), "a module begins with its docstring"
    assert len(text.splitlines()) <= LONGEST_FILE


def test_the_top_level_is_as_agreed() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.split("/")[0] for line in tracked.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= {
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "crds",
        "deploy",
        "docs",
        "operator",
        "pyproject.toml",
        "tests",
    }


def test_every_locked_dependency_has_a_hash() -> None:
    for lock in (ROOT / name for name in ("deploy/requirements.txt", "tests/requirements.txt", "tests/tools.txt")):
        blocks = lock.read_text("utf-8").replace("\\\n", " ").splitlines()
        pins = [block for block in blocks if block and not block.startswith("#")]
        assert pins
        assert all("==" in pin and "--hash=sha256:" in pin for pin in pins)
        assert "http://" not in lock.read_text("utf-8")
        assert "https://" not in lock.read_text("utf-8")


def test_a_wheel_has_the_whole_package_and_the_definition(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert archive.read("pipeline_approver/crds/pipelines.yaml") == (ROOT / "crds" / "pipelines.yaml").read_bytes()
    modules = {str(path.relative_to(PACKAGE.parent)) for path in PACKAGE.rglob("*.py")}
    assert names == modules | {"pipeline_approver/py.typed", "pipeline_approver/crds/pipelines.yaml"}
