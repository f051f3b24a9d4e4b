"""The manifests render in every combination, fit together, and ask for no more rights than the operator needs."""

import argparse
import pathlib
import re
import shutil
from collections.abc import Iterator

import pytest
import yaml

import pipeline_approver
from pipeline_approver import settings
from support.kustomize import (
    COMBINATIONS,
    COMPONENTS,
    DEPLOY,
    HOMES,
    OVERLAYS,
    Manifest,
    Tree,
    identity,
    named,
    pick,
    render,
)

CLUSTER_SCOPED = {
    "Namespace",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
}


def raw_manifests() -> Iterator[tuple[pathlib.Path, Manifest]]:
    for file in sorted(DEPLOY.rglob("[0-9]*.yaml")):
        for manifest in yaml.safe_load_all(file.read_text()):
            yield file, manifest


@pytest.mark.parametrize(("overlay", "chosen"), COMBINATIONS)
def test_every_combination_renders_and_fits_together(tree: Tree, overlay: str, chosen: tuple[str, ...]) -> None:
    manifests = tree.combine(overlay, chosen)
    identities = [identity(manifest) for manifest in manifests]
    assert len(set(identities)) == len(identities)
    home = HOMES[overlay]
    for kind, namespace, name in identities:
        assert namespace == ("" if kind in CLUSTER_SCOPED else home), (kind, name)
    assert_references_exist(manifests)


def assert_references_exist(manifests: list[Manifest]) -> None:
    known = {identity(manifest) for manifest in manifests}
    for binding in pick(manifests, "RoleBinding", "ClusterRoleBinding"):
        namespace = binding["metadata"].get("namespace", "")
        assert (
            binding["roleRef"]["kind"],
            namespace if binding["roleRef"]["kind"] == "Role" else "",
            binding["roleRef"]["name"],
        ) in known
        for subject in binding["subjects"]:
            assert (subject["kind"], subject["namespace"], subject["name"]) in known
    for binding in pick(manifests, "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding"):
        assert (binding["kind"].removesuffix("Binding"), "", binding["spec"]["policyName"]) in known
    deployment = named(manifests, "Deployment")
    template = deployment["spec"]["template"]
    assert (
        "ServiceAccount",
        deployment["metadata"]["namespace"],
        template["spec"]["serviceAccountName"],
    ) in known
    labels = template["metadata"]["labels"].items()
    selectors = [deployment["spec"]["selector"]["matchLabels"]]
    selectors += [m["spec"]["selector"] for m in pick(manifests, "Service")]
    selectors += [m["spec"]["selector"]["matchLabels"] for m in pick(manifests, "PodDisruptionBudget", "PodMonitor")]
    selectors += [m["spec"]["podSelector"]["matchLabels"] for m in pick(manifests, "NetworkPolicy")]
    for constraint in template["spec"]["topologySpreadConstraints"]:
        selectors.append(constraint["labelSelector"]["matchLabels"])
    assert all(selector and selector.items() <= labels for selector in selectors)
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    for service in pick(manifests, "Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for monitor in pick(manifests, "PodMonitor"):
        assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} <= ports


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_components_work_where_an_overlay_suggests_them(tree: Tree, overlay: str) -> None:
    folder = tree.folder / "deploy" / "overlays" / f"{overlay}-with"
    shutil.copytree(tree.folder / "deploy" / "overlays" / overlay, folder, dirs_exist_ok=True)
    file = folder / "kustomization.yaml"
    file.write_text(re.sub(r"^# (components:|  - \.\./)", r"\1", file.read_text(), flags=re.MULTILINE))
    chosen = COMPONENTS if overlay == "cluster-wide" else ("monitoring",)
    wanted = {identity(manifest) for manifest in tree.combine(overlay, chosen)}
    assert {identity(manifest) for manifest in render(folder)} == wanted


def test_the_short_way_is_the_cluster_wide_one(tree: Tree) -> None:
    assert render(tree.folder / "deploy") == tree.combine("cluster-wide", ())


def test_cluster_wide_brings_the_definition_and_its_namespace(tree: Tree) -> None:
    manifests = tree.combine("cluster-wide", ())
    assert len(pick(manifests, "CustomResourceDefinition")) == 1
    namespace = named(manifests, "Namespace", "pipeline-approver-system")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_namespaced_needs_nothing_of_the_cluster(tree: Tree) -> None:
    manifests = tree.combine("namespaced", ("monitoring",))
    assert not [identity(manifest) for manifest in manifests if manifest["kind"] in CLUSTER_SCOPED]
    container = named(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    watched = [entry for entry in container["env"] if entry["name"] == "PIPELINE_APPROVER_NAMESPACE"]
    assert watched == [
        {
            "name": "PIPELINE_APPROVER_NAMESPACE",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}},
        }
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_network_policy_lets_through_what_has_to_pass(tree: Tree, overlay: str) -> None:
    """Prometheus, wherever it is, on the one port that is open; and everything that the operator calls."""
    manifests = tree.combine(overlay)
    policy = named(manifests, "NetworkPolicy")["spec"]
    (container,) = named(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    (rule,) = policy["ingress"]
    # An empty selector is every namespace; next to it, without a podSelector, every pod there.
    assert rule["from"] == [{"namespaceSelector": {}}]
    assert [port["port"] for port in rule["ports"]] == [port["containerPort"] for port in container["ports"]]
    # Not named as a policy type, egress is not restricted: API server, DNS and any Feldera.
    assert policy["policyTypes"] == ["Ingress"]
    assert "egress" not in policy


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_one_pod_at_a_time_may_go(tree: Tree, overlay: str) -> None:
    manifests = tree.combine(overlay)
    budget, deployment = named(manifests, "PodDisruptionBudget")["spec"], named(manifests, "Deployment")["spec"]
    assert budget["maxUnavailable"] == 1
    assert deployment["replicas"] > 1
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_deployment_is_what_the_operator_expects() -> None:
    (deployment,) = [m for _, m in raw_manifests() if m["kind"] == "Deployment"]
    spec = deployment["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (2, "RollingUpdate")
    assert pod["terminationGracePeriodSeconds"] == 30
    assert container["args"] == ["run"]
    assert container["image"] == f"pipeline-approver:{pipeline_approver.__version__}"
    assert container["resources"] == {
        "requests": {"cpu": "50m", "memory": "96Mi"},
        "limits": {"memory": "512Mi"},
    }
    probes = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("liveness", "readiness")}
    assert probes == {
        "liveness": {"path": "/healthz", "port": "http"},
        "readiness": {"path": "/readyz", "port": "http"},
    }
    assert [port["containerPort"] for port in container["ports"]] == [settings.Settings().health_port]
    assert container["envFrom"] == [{"secretRef": {"name": "feldera", "optional": True}}]


def test_every_variable_is_a_setting_of_the_operator() -> None:
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser)
    known = {settings.PREFIX + name.upper() for name in vars(parser.parse_args([]))}
    for file in sorted(DEPLOY.rglob("*.yaml")):
        assert set(re.findall(rf"\b{settings.PREFIX}[A-Z_]+\b", file.read_text())) <= known, file


def test_files_are_numbered_in_the_order_in_which_they_are_applied() -> None:
    kustomization = yaml.safe_load((DEPLOY / "base" / "kustomization.yaml").read_text())
    files = sorted(file.name for file in (DEPLOY / "base").glob("*.yaml") if file.name != "kustomization.yaml")
    assert kustomization["resources"] == files
    assert all(re.match(r"0\d0-", name) for name in files)


def test_the_version_is_the_same_everywhere() -> None:
    version = pipeline_approver.__version__
    for overlay in OVERLAYS:
        text = (DEPLOY / "overlays" / overlay / "kustomization.yaml").read_text()
        assert yaml.safe_load(text)["images"] == [{"name": "pipeline-approver", "newTag": version}]
