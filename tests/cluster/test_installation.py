"""Installing in a cluster that has everything: nodes that pull and run the image, controllers, admission policies.

The image has to be there under the name in the manifests, for example by `kind load docker-image`. The tests build on
each other, in this order; what they made is gone at the end.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.kustomize import HEAD, ROOT, Tree

CONTEXT = os.environ.get("CLUSTER_CONTEXT", "")
HOME = "pipeline-approver-system"
PIPELINE = """
apiVersion: pipeline-approver.io/v1alpha1
kind: Pipeline
metadata: {name: orders, namespace: default}
"""
PEOPLE = {"ed": "pipeline-editor", "ann": "pipeline-approver", "adam": "admin", "eddy": "edit", "vi": "view"}
PATIENCE_SECONDS = 120.0


def kubectl(*arguments: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["kubectl", f"--context={CONTEXT}", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, cwd=ROOT)
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done


def get(*arguments: str) -> Any:
    return json.loads(kubectl("get", *arguments, "--output=json").stdout)


def wait_until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.5)
    return found


def holder() -> str:
    found = kubectl("get", "lease", "pipeline-approver", "-n", HOME, "--output=json", check=False)
    return str(json.loads(found.stdout)["spec"].get("holderIdentity", "")) if found.returncode == 0 else ""


def annotate(user: str, **values: str) -> subprocess.CompletedProcess[str]:
    pairs = [f"pipeline-approver.io/{key}={value}" for key, value in values.items()]
    return kubectl("annotate", "pipeline", "orders", "--overwrite", f"--as={user}", *pairs, check=False)


@pytest.fixture(scope="module")
def version() -> tuple[int, int]:
    said = json.loads(kubectl("version", "--output=json").stdout)["serverVersion"]
    return int(said["major"]), int(re.sub(r"\D", "", said["minor"]))


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory, version: tuple[int, int]) -> Iterator[None]:
    """The cluster-wide overlay with every policy that this version has."""
    tree = Tree(tmp_path_factory.mktemp("install"))
    components = ["approve-verb", *(["approved-by", "four-eyes"] if version >= (1, 36) else [])]
    (tree.folder / "kustomization.yaml").write_text(
        f"{HEAD}resources: [deploy/overlays/cluster-wide]\ncomponents:\n"
        + "".join(f"  - deploy/components/{name}\n" for name in components)
    )
    kubectl("apply", "-k", str(tree.folder))
    for user, role in PEOPLE.items():
        kubectl("create", "rolebinding", f"test-{user}", f"--clusterrole={role}", f"--user={user}")
    yield
    kubectl("delete", "-k", str(tree.folder), "--ignore-not-found", "--wait=true", "--timeout=180s")
    kubectl("delete", "rolebinding", *(f"test-{user}" for user in PEOPLE), "--ignore-not-found")
    # Nothing is left, and nothing was stuck on the way.
    assert kubectl("get", "pipelines", check=False).returncode != 0
    assert kubectl("get", "namespace", HOME, check=False).returncode != 0


def test_both_replicas_come_up_and_one_leads() -> None:
    kubectl("rollout", "status", "deployment/pipeline-approver", "-n", HOME, "--timeout=180s")
    assert wait_until(holder)
    pods = get("pods", "-n", HOME)["items"]
    assert [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods] == [0, 0]


def test_the_operator_looks_after_a_pipeline() -> None:
    kubectl("apply", "-f", "-", text=PIPELINE)
    state = wait_until(lambda: get("pipeline", "orders").get("status", {}).get("state"))
    assert state
    conditions = {each["type"]: each for each in get("pipeline", "orders")["status"]["conditions"]}
    assert conditions["Connected"]["status"] == "False"


def test_health_and_metrics_are_served() -> None:
    path = f"/api/v1/namespaces/{HOME}/services/pipeline-approver:http/proxy"
    assert kubectl("get", "--raw", f"{path}/readyz").returncode == 0
    assert "pipeline_approver_leader" in kubectl("get", "--raw", f"{path}/metrics").stdout


def test_approving_needs_the_verb() -> None:
    # A policy takes a moment to come into force.
    wait_until(lambda: annotate("ed", approve="true").returncode != 0)
    refused = annotate("ed", approve="true@ed")
    assert "user ed needs the verb approve on pipelines.pipeline-approver.io" in refused.stderr
    malformed = annotate("ann", approve="3f9a1c")
    assert "a part of one is not accepted" in malformed.stderr
    assert annotate("ed", reason="because").returncode == 0
    allowed = annotate("ann", approve="true@ann")
    assert allowed.returncode == 0, allowed.stderr


def test_who_approved_is_stamped(version: tuple[int, int]) -> None:
    if version < (1, 36):
        pytest.skip(f"NOT CHECKED ON KUBERNETES {version}: MUTATING ADMISSION POLICIES CAME WITH 1.36")
    stamped = wait_until(lambda: annotate("ann", approve=f"true@{time.time_ns()}") and annotations().get("approved-by"))
    assert stamped == "ann"
    assert annotate("ed", **{"approved-by": "bob"}).returncode == 0
    assert annotations()["approved-by"] == "ann"


def annotations() -> dict[str, str]:
    found = get("pipeline", "orders")["metadata"]["annotations"]
    return {key.split("/")[1]: value for key, value in found.items() if key.startswith("pipeline-approver.io/")}


def test_the_roles_are_part_of_those_that_clusters_come_with() -> None:
    def can(user: str, verb: str) -> bool:
        done = kubectl("auth", "can-i", verb, "pipelines/orders", f"--as={user}", "-n", "default", check=False)
        return done.stdout.strip() == "yes"

    wait_until(lambda: can("adam", "approve"))
    assert [can("adam", verb) for verb in ("get", "patch", "approve")] == [True, True, True]
    assert [can("eddy", verb) for verb in ("get", "patch", "approve")] == [True, True, False]
    assert [can("vi", verb) for verb in ("get", "patch", "approve")] == [True, False, False]


def test_another_replica_takes_over() -> None:
    before = holder()
    kubectl("delete", "pod", before.split("_")[0], "-n", HOME, "--wait=true")
    assert wait_until(lambda: (now := holder()) != before and now)


def test_the_chart_installs_and_uninstalls(tmp_path: pathlib.Path) -> None:
    if shutil.which("helm") is None:
        pytest.skip("helm is not on the PATH: THE CHART IS NOT INSTALLED")
    context = f"--kube-context={CONTEXT}"
    namespaced = ["--namespace=feldera", "--create-namespace", "--set=namespaces={feldera}"]
    for command in (
        ["install", "team", "deploy/chart", *namespaced, "--wait", "--timeout=3m"],
        ["upgrade", "team", "deploy/chart", *namespaced, "--set=replicas=1", "--wait", "--timeout=3m"],
        ["uninstall", "team", "--namespace=feldera", "--wait"],
    ):
        done = subprocess.run(["helm", context, *command], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
    kubectl("delete", "namespace", "feldera", "--wait=true", "--timeout=120s")
