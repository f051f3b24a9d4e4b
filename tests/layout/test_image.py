"""The image, without building one: what its file says, and that the locked set alone installs and starts."""

import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

import pipeline_approver

ROOT = pathlib.Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
LOCK = ROOT / "deploy" / "requirements.txt"
INSTRUCTIONS = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
NEVER_IN_THE_IMAGE = {"pytest", "jsonschema", "feldera", "hatchling", "ruff", "pip"}


def install_flags() -> list[str]:
    """The arguments of pip, as the image is built."""
    (line,) = (line for line in INSTRUCTIONS if " install " in line)
    words = shlex.split(line.split(" install ")[1])
    assert words[-2:] == ["-r", "/build/requirements.txt"]
    return words[:-2]


def test_only_locked_wheels_are_installed() -> None:
    assert set(install_flags()) == {"--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile"}


def test_the_last_stage_runs_nothing_at_build_time_and_is_not_root_at_run_time() -> None:
    stages = [number for number, line in enumerate(INSTRUCTIONS) if line.startswith("FROM ")]
    assert len(stages) == 2
    last = INSTRUCTIONS[stages[-1] :]
    assert not [line for line in last if line.startswith("RUN ")]
    assert [line for line in last if line.startswith("COPY ")] == ["COPY --from=build /app /app"]
    assert "USER 65532:65532" in last
    entry = json.loads(next(line for line in last if line.startswith("ENTRYPOINT ")).removeprefix("ENTRYPOINT "))
    assert entry == ["/app/bin/python", "-m", "pipeline_approver"]


def test_it_says_what_it_is() -> None:
    label = next(line for line in INSTRUCTIONS if line.startswith("LABEL "))
    keys = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", label))
    assert keys == {"title", "description", "licenses", "version", "source", "revision"}
    assert f"ARG VERSION={pipeline_approver.__version__}" in INSTRUCTIONS


def test_only_what_it_is_made_of_is_sent_to_the_builder() -> None:
    sources = {
        word
        for line in INSTRUCTIONS
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    lines = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == sources
    assert "*" in lines
    assert all((ROOT / source).exists() for source in sources)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What the image's /app is: an empty environment, the locked set, and the package; up to a minute to make."""
    prefix = tmp_path_factory.mktemp("image") / "app"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", prefix], check=True)
    python = prefix / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *install_flags(), "-r", LOCK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (site,) = prefix.glob("lib/python*/site-packages")
    shutil.copytree(ROOT / "operator" / "pipeline_approver", site / "pipeline_approver")
    return prefix


def run(prefix: pathlib.Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, with nothing of this machine's Python or kubeconfig around it."""
    return subprocess.run(
        [prefix / "bin" / "python", "-m", "pipeline_approver", *arguments],
        env={"HOME": str(prefix), "PYTHONSAFEPATH": "1", **environ},
        cwd=prefix,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_locked_set_has_what_the_operator_needs_and_nothing_of_the_tests(prefix: pathlib.Path) -> None:
    installed = {pin_name(file) for file in prefix.glob("lib/python*/site-packages/*.dist-info/WHEEL")}
    assert {"kopf", "kubernetes", "httpx", "prometheus-client"} <= installed
    assert not installed & NEVER_IN_THE_IMAGE
    locked = set(re.findall(r"^([a-z0-9-]+)==", LOCK.read_text(), re.MULTILINE))
    assert installed <= locked


def test_it_tells_its_version_and_its_flags(prefix: pathlib.Path) -> None:
    version = run(prefix, "--version")
    assert (version.returncode, version.stdout) == (0, f"pipeline-approver {pipeline_approver.__version__}\n")
    help_ = run(prefix, "run", "--help")
    assert help_.returncode == 0
    assert "--own-connection-namespaces" in help_.stdout


def test_without_a_cluster_it_says_what_to_do(prefix: pathlib.Path) -> None:
    done = run(prefix, "run")
    assert done.returncode == 1
    assert "no cluster is configured: set KUBECONFIG" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_sandbox_is_not_part_of_it_and_says_so(prefix: pathlib.Path) -> None:
    done = run(prefix, "sandbox")
    assert done.returncode == 1
    assert done.stderr.startswith("pipeline-approver")
    assert "Traceback" not in done.stdout + done.stderr


def test_an_unreachable_cluster_is_named_and_tried_again(prefix: pathlib.Path, tmp_path: pathlib.Path) -> None:
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        # A port on which nothing ever listens.
        "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
        "users": [{"name": "none", "user": {"token": "none"}}],
        "current-context": "none",
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    command = [str(prefix / "bin" / "python"), "-m", "pipeline_approver", "run", "--health-port", "0"]
    environ = {"HOME": str(prefix), "KUBECONFIG": str(tmp_path / "kubeconfig")}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, env=environ, cwd=prefix, stderr=pipe, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "trying again" in line:
                os.kill(process.pid, signal.SIGTERM)
                break
        lines += process.stderr.readlines()
    assert "the Kubernetes API cannot be used, trying again in 1 s" in "".join(lines)
    assert "Traceback" not in "".join(lines)
    assert process.returncode == 0


def test_what_is_compiled_is_there_for_the_other_architecture_too(prefix: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Nothing but wheels is installed, so a missing one would break the build of that image."""
    wheels = prefix.glob("lib/python*/site-packages/*.dist-info/WHEEL")
    compiled = {pin_name(file) for file in wheels if "Root-Is-Purelib: false" in file.read_text()}
    assert compiled
    pins = re.findall(r"^[^#\s].*?(?=^[^#\s]|\Z)", LOCK.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "compiled.txt").write_text("".join(pin for pin in pins if pin.split("==")[0] in compiled))
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[platform.machine()]
    tags = [f"--platform={tag}_{other}" for tag in ("manylinux2014", "manylinux_2_17", "manylinux_2_28")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *tags]
    flags = [flag for flag in install_flags() if flag != "--no-compile"]
    where = ["--dest", str(tmp_path / "wheels"), "-r", str(tmp_path / "compiled.txt")]
    done = subprocess.run([*command, *flags, *where], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "wheels").glob(f"*{other}.whl"))) == len(compiled)


def pin_name(wheel: pathlib.Path) -> str:
    return re.split(r"-\d", wheel.parent.name)[0].lower().replace("_", "-")
