"""Every manifest of ours is what Kubernetes understands, by its own schemas, from the oldest version we name on."""

import functools
import re

import kubernetes_validate
import pytest
import yaml

from support.helm import Helm
from support.kustomize import DEPLOY, Manifest, Tree

VERSIONS = ("1.30", "1.36", kubernetes_validate.latest_version())
SINCE = {"MutatingAdmissionPolicy": "1.36", "MutatingAdmissionPolicyBinding": "1.36"}
FOREIGN = {"PodMonitor", "PrometheusRule"}
"""Of the Prometheus operator: no schema of Kubernetes has them. promtool checks the rules."""


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def check(manifests: list[Manifest], version: str) -> set[str]:
    """Validate, as strictly as it goes; the answer is the kinds that were."""
    checked = set()
    for manifest in manifests:
        kind = manifest["kind"]
        if kind not in FOREIGN and number(version) >= number(SINCE.get(kind, "1.0")):
            kubernetes_validate.validate(manifest, version, strict=True)
            checked.add(kind)
    return checked


@functools.cache
def kinds(tree: Tree) -> frozenset[str]:
    return frozenset(manifest["kind"] for manifest in tree.everything())


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid_and_no_kind_is_left_out(tree: Tree, version: str) -> None:
    checked = check(tree.everything(), version)
    left_out = {kind for kind, since in SINCE.items() if number(version) < number(since)}
    assert checked == kinds(tree) - FOREIGN - left_out


def test_the_chart_with_everything_set_is_valid(helm: Helm) -> None:
    values = {
        "image": {"pullSecrets": ["pull"]},
        "namespaces": ["orders"],
        "feldera": {"url": "http://f:8080", "token": {"audience": "feldera"}, "ca": {"configMap": "ca"}},
        "ownConnectionNamespaces": ["orders"],
        "oneShot": "never",
        "pollInterval": 0.5,
        "logLevel": "debug",
        "networkPolicy": {"egress": [{"ports": [{"protocol": "TCP", "port": 443}]}]},
        "serviceAccount": {"annotations": {"a": "b"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"a": "b"},
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "env": [{"name": "A", "value": "b"}],
    }
    assert "Deployment" in check(helm.render(DEPLOY / "chart", values), VERSIONS[-1])


def test_this_check_can_fail() -> None:
    (policy,) = yaml.safe_load_all((DEPLOY / "base" / "060-network-policy.yaml").read_text())
    policy["spec"]["ingres"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        check([policy], VERSIONS[0])
