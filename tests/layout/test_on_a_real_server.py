"""A real API server takes every manifest of every combination, and its RBAC gives the rights that were meant."""

import copy
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline_approver.sandbox.crd import read_crd
from pipeline_approver.sandbox.real import RealServer
from support.kustomize import DEPLOY, HOMES, Manifest, Tree

pytestmark = pytest.mark.e2e

SINCE = {
    "PodDisruptionBudget": (1, 21),
    "ValidatingAdmissionPolicy": (1, 30),
    "ValidatingAdmissionPolicyBinding": (1, 30),
    "MutatingAdmissionPolicy": (1, 36),
    "MutatingAdmissionPolicyBinding": (1, 36),
}
"""Kinds whose version, as we use it, is newer than Kubernetes 1.20."""
KINDS = (
    *("ClusterRole", "ClusterRoleBinding", "ConfigMap", "CustomResourceDefinition", "Deployment", "Namespace"),
    *("NetworkPolicy", "Role", "RoleBinding", "Service", "ServiceAccount"),
    *SINCE,
)
FOREIGN = {"PodMonitor", "PrometheusRule"}
"""Of the Prometheus operator, whose definitions are not on this server."""
GROUP = "pipeline-approver.io"
ACCOUNT = "system:serviceaccount:pipeline-approver-system:pipeline-approver"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    server = RealServer(tmp_path_factory.mktemp("real"))
    try:
        server.start()
        create(server, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", read_crd())
        for name in HOMES.values():
            create(server, "/api/v1/namespaces", {"metadata": {"name": name}})
        yield server
    finally:
        server.stop()


def create(server: RealServer, path: str, manifest: Manifest) -> Manifest:
    status, answer = server.request("POST", path, manifest)
    assert status == 201, answer
    return dict(answer)


def version(server: RealServer) -> tuple[int, int]:
    said = server.request("GET", "/version")[1]
    return int(said["major"]), int(said["minor"].rstrip("+"))


def path_of(manifest: Manifest) -> str:
    kind = manifest["kind"].lower()
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
    api = "/api/v1" if manifest["apiVersion"] == "v1" else f"/apis/{manifest['apiVersion']}"
    namespace = manifest["metadata"].get("namespace")
    where = f"/namespaces/{namespace}" if namespace else ""
    return f"{api}{where}/{plural}/{manifest['metadata']['name']}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_dry_run_accepts_the_manifests(server: RealServer, tree: Tree, kind: str) -> None:
    mine, needed = version(server), SINCE.get(kind, (1, 0))
    if mine < needed:
        pytest.skip(f"NOT CHECKED ON THIS SERVER: {kind.upper()} CAME WITH KUBERNETES {needed}, THIS IS {mine}")
    manifests = [manifest for manifest in tree.everything() if manifest["kind"] == kind]
    assert manifests
    for manifest in copy.deepcopy(manifests):
        if kind == "CustomResourceDefinition" and mine < (1, 30):
            # Server-side apply refuses what it does not know; the whole definition was created above.
            (served,) = manifest["spec"]["versions"]
            del served["selectableFields"]
            if mine < (1, 25):
                del served["schema"]["openAPIV3Schema"]["x-kubernetes-validations"]
        query = "?dryRun=All&fieldManager=test&force=true&fieldValidation=Strict"
        status, answer = server.request(
            "PATCH", path_of(manifest) + query, manifest, content_type="application/apply-patch+yaml"
        )
        assert status in (200, 201), answer["message"]


def test_every_kind_is_tried(tree: Tree) -> None:
    assert {manifest["kind"] for manifest in tree.everything()} == set(KINDS) | FOREIGN


@pytest.fixture(scope="module")
def roles(server: RealServer) -> RealServer:
    """The rights of the cluster-wide overlay, and a user for each role of people, in one namespace."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    files = [*(DEPLOY / "base").glob("*rbac*.yaml"), *(DEPLOY / "overlays" / "cluster-wide").glob("*rbac*.yaml")]
    for manifest in (manifest for file in files for manifest in yaml.safe_load_all(file.read_text())):
        create(server, re.sub(r"/[^/]+$", "", path_of(manifest)), manifest)
    for role in ("pipeline-viewer", "pipeline-editor", "pipeline-approver"):
        binding = {
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": role}],
        }
        create(server, f"{rbac}/namespaces/feldera/rolebindings", binding)
    return server


def can(server: RealServer, user: str, verb: str, resource: str, *, namespace: str = "feldera", name: str = "") -> bool:
    """What `kubectl auth can-i` says of a user; `resource` with its group before and its subresource after a slash."""
    group, resource, *sub = resource.split("/")
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource, "name": name}
    spec = {"user": user, "resourceAttributes": {**attributes, "subresource": "".join(sub)}}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    return bool(create(server, "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"])


VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "approve")
PIPELINES, STATUS = f"{GROUP}/pipelines", f"{GROUP}/pipelines/status"


@pytest.mark.parametrize(
    ("user", "resource", "verbs"),
    [
        ("pipeline-viewer", PIPELINES, "get list watch"),
        ("pipeline-editor", PIPELINES, "get list watch create update patch delete"),
        ("pipeline-approver", PIPELINES, "get list watch patch approve"),
        *((f"pipeline-{who}", STATUS, "") for who in ("viewer", "editor", "approver")),
        *((f"pipeline-{who}", "/secrets", "") for who in ("viewer", "editor", "approver")),
        (ACCOUNT, PIPELINES, "get list watch"),
        (ACCOUNT, STATUS, "patch"),
        (ACCOUNT, "/events", "create get patch"),
        (ACCOUNT, "/secrets", "get"),
        (ACCOUNT, "/pods", ""),
        (ACCOUNT, "/configmaps", ""),
        (ACCOUNT, "/namespaces", ""),
        (ACCOUNT, "coordination.k8s.io/leases", ""),
    ],
)
def test_rights_in_a_namespace_of_pipelines_are_these_and_no_others(
    roles: RealServer, user: str, resource: str, verbs: str
) -> None:
    assert [verb for verb in VERBS if can(roles, user, verb, resource, name="orders")] == [
        verb for verb in VERBS if verb in verbs.split()
    ]


def test_the_operator_holds_its_own_lease_and_no_other(roles: RealServer) -> None:
    home = "pipeline-approver-system"
    leases = "coordination.k8s.io/leases"
    for verb in ("get", "update"):
        assert can(roles, ACCOUNT, verb, leases, namespace=home, name="pipeline-approver")
        assert not can(roles, ACCOUNT, verb, leases, namespace=home, name="another")
    assert can(roles, ACCOUNT, "create", leases, namespace=home)
    assert not can(roles, ACCOUNT, "delete", leases, namespace=home, name="pipeline-approver")


def test_a_right_in_one_namespace_is_none_in_another(roles: RealServer) -> None:
    assert can(roles, "pipeline-approver", "approve", PIPELINES, name="orders")
    assert not can(roles, "pipeline-approver", "approve", PIPELINES, namespace="default", name="orders")


def test_kubectl_says_the_same(roles: RealServer, tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(json.dumps(roles.kubeconfig()))
    for user, answer in (("pipeline-approver", "yes"), ("pipeline-editor", "no")):
        command = ["kubectl", f"--kubeconfig={tmp_path / 'kubeconfig'}", "auth", "can-i", "approve", "pipelines/orders"]
        done = subprocess.run(
            [*command, f"--as={user}", "-n", "feldera"], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.stdout.strip() == answer, done.stderr
