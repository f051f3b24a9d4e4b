"""The Helm chart makes the same objects as kustomize, says no to values that it does not know, and packs whole."""

import copy
import json
import pathlib
import re
import subprocess
from typing import Any

import jsonschema
import pytest
import yaml

import pipeline_approver
from pipeline_approver import settings
from support.helm import Helm, Refused
from support.kustomize import COMBINATIONS, DEPLOY, HOMES, ROOT, Manifest, Tree, identity, named, pick

CHART = DEPLOY / "chart"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
NOT_THE_CHARTS = ("Namespace", "CustomResourceDefinition")
SWITCHES = {
    "approve-verb": {"policies": {"approveVerb": True}},
    "approved-by": {"policies": {"approvedBy": True}},
    "four-eyes": {"policies": {"fourEyes": True, "approvedBy": True}},
    "monitoring": {"monitoring": {"podMonitor": True, "rules": True, "dashboard": True}},
}


def values_for(overlay: str, chosen: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {"namespaces": []} if overlay == "cluster-wide" else {"namespaces": [HOMES[overlay]]}
    for component in chosen:
        for key, switches in SWITCHES[component].items():
            values[key] = values.get(key, {}) | switches
    return values


def comparable(manifest: Manifest) -> Manifest:
    """Where the order of a list or the way to say a thing makes no difference, one order and one way."""
    manifest = copy.deepcopy(manifest)
    if manifest["kind"] == "Deployment":
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        for entry in container["env"]:
            if entry["name"] == "PIPELINE_APPROVER_NAMESPACE" and "valueFrom" in entry:
                assert entry.pop("valueFrom") == {"fieldRef": {"fieldPath": "metadata.namespace"}}
                entry["value"] = manifest["metadata"]["namespace"]
        container["env"].sort(key=lambda entry: str(entry["name"]))
    return manifest


def by_identity(manifests: list[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    found = {identity(manifest): comparable(manifest) for manifest in manifests}
    assert len(found) == len(manifests)
    return found


@pytest.mark.parametrize(
    ("overlay", "chosen"),
    # The schema wants approvedBy with fourEyes; kustomize can only advise it.
    [(overlay, chosen) for overlay, chosen in COMBINATIONS if "four-eyes" not in chosen or "approved-by" in chosen],
)
def test_helm_and_kustomize_make_the_same_objects(
    tree: Tree, helm: Helm, overlay: str, chosen: tuple[str, ...]
) -> None:
    wanted = [manifest for manifest in tree.combine(overlay, chosen) if manifest["kind"] not in NOT_THE_CHARTS]
    rendered = helm.render(CHART, values_for(overlay, chosen), HOMES[overlay])
    assert by_identity(rendered) == by_identity(wanted)


def container(manifests: list[Manifest]) -> Manifest:
    (found,) = named(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(manifests: list[Manifest]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container(manifests)["env"]}


def test_several_namespaces_get_roles_and_nothing_reaches_beyond_them(helm: Helm) -> None:
    manifests = helm.render(CHART, {"namespaces": ["orders", "payments"]}, "feldera")
    assert environment(manifests)["PIPELINE_APPROVER_NAMESPACE"] == "orders,payments"
    assert not pick(manifests, "ClusterRole", "ClusterRoleBinding")
    roles = {(m["metadata"]["name"], m["metadata"]["namespace"]) for m in pick(manifests, "Role")}
    names = ("pipeline-approver-operator", "pipeline-viewer", "pipeline-editor", "pipeline-approver")
    wanted = {(name, namespace) for name in names for namespace in ("orders", "payments")}
    assert roles == wanted | {("pipeline-approver-leader", "feldera")}
    leader = named(manifests, "Role", "pipeline-approver-leader")
    assert {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "get", "patch"]} in leader["rules"]
    for binding in pick(manifests, "RoleBinding"):
        (subject,) = binding["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": "pipeline-approver", "namespace": "feldera"}


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ({}, f"pipeline-approver:{pipeline_approver.__version__}"),
        ({"repository": "registry:5000/a/b", "tag": "1"}, "registry:5000/a/b:1"),
        ({"tag": "1", "digest": "sha256:" + "0" * 64}, "pipeline-approver@sha256:" + "0" * 64),
    ],
)
def test_the_image_is_named_by_digest_tag_or_version(helm: Helm, image: dict[str, str], wanted: str) -> None:
    assert container(helm.render(CHART, {"image": image}))["image"] == wanted


def test_every_setting_reaches_the_operator(helm: Helm) -> None:
    values = {
        "ownConnectionNamespaces": ["orders", "payments"],
        "oneShot": "never",
        "pollInterval": 0.5,
        "logFormat": "text",
        "logLevel": "debug",
        "feldera": {"url": "https://feldera.example.com", "existingSecret": ""},
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    }
    manifests = helm.render(CHART, values)
    found = environment(manifests)
    chosen = settings.read_settings(
        settings_parser().parse_args([]), {name: value for name, value in found.items() if isinstance(value, str)}
    )
    assert chosen.own_connection_namespaces == {"orders", "payments"}
    assert (chosen.one_shot, chosen.poll_interval_seconds) == ("never", 0.5)
    assert (chosen.log_format, chosen.log_level) == ("text", "debug")
    assert found["FELDERA_URL"] == "https://feldera.example.com"
    assert found["HTTPS_PROXY"] == "http://proxy:3128"
    assert "envFrom" not in container(manifests)


def settings_parser() -> Any:
    import argparse

    parser = argparse.ArgumentParser()
    settings.add_arguments(parser)
    return parser


def test_without_election_there_is_no_lease_and_the_operator_knows(helm: Helm) -> None:
    manifests = helm.render(CHART, {"leaderElection": False, "replicas": 1})
    assert environment(manifests)["PIPELINE_APPROVER_LEADER_ELECT"] == "false"
    assert "leases" not in str(pick(manifests, "Role", "ClusterRole"))
    assert not pick(manifests, "RoleBinding")


def test_defaults_of_the_chart_are_defaults_of_the_operator(helm: Helm) -> None:
    found = environment(helm.render(CHART))
    assert set(found) == {"POD_NAME", "POD_NAMESPACE", "PIPELINE_APPROVER_LOG_FORMAT"}
    defaults = settings.Settings()
    assert VALUES["oneShot"] == defaults.one_shot
    assert VALUES["pollInterval"] == defaults.poll_interval_seconds
    assert VALUES["logLevel"] == defaults.log_level


def test_a_token_and_certificates_are_mounted_where_the_operator_looks(helm: Helm) -> None:
    for source in ("configMap", "secret"):
        values = {"feldera": {"token": {"audience": "feldera"}, "ca": {source: "private", "key": "root.pem"}}}
        manifests = helm.render(CHART, values)
        found, mounts = environment(manifests), {m["name"]: m for m in container(manifests)["volumeMounts"]}
        assert found["FELDERA_TOKEN_FILE"] == mounts["feldera-token"]["mountPath"] + "/token"
        assert found["FELDERA_CA_FILE"] == mounts["feldera-ca"]["mountPath"] + "/ca.crt"
        volumes = {v["name"]: v for v in named(manifests, "Deployment")["spec"]["template"]["spec"]["volumes"]}
        (projected,) = volumes["feldera-token"]["projected"]["sources"]
        assert projected["serviceAccountToken"] == {"audience": "feldera", "expirationSeconds": 3600, "path": "token"}
        volume = volumes["feldera-ca"][source]
        assert volume.get("name", volume.get("secretName")) == "private"
        assert volume["items"] == [{"key": "root.pem", "path": "ca.crt"}]


def test_what_belongs_to_a_pod_is_passed_on(helm: Helm) -> None:
    values = {
        "replicas": 1,
        "image": {"pullPolicy": "Always", "pullSecrets": ["pull"]},
        "serviceAccount": {"annotations": {"cloud/role": "approver"}},
        "resources": {"requests": {"cpu": "1"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "data", "app.kubernetes.io/name": "something-else"},
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "infra", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "system-cluster-critical",
    }
    manifests = helm.render(CHART, values)
    spec = named(manifests, "Deployment")["spec"]
    pod = spec["template"]["spec"]
    assert spec["replicas"] == 1
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    for key in ("nodeSelector", "tolerations", "affinity", "priorityClassName"):
        assert pod[key] == values[key]
    assert container(manifests)["imagePullPolicy"] == "Always"
    assert container(manifests)["resources"]["requests"] == {"cpu": "1", "memory": "96Mi"}
    assert named(manifests, "ServiceAccount")["metadata"]["annotations"] == {"cloud/role": "approver"}
    metadata = spec["template"]["metadata"]
    assert metadata["annotations"] == {"a": "b", "kubectl.kubernetes.io/default-container": "operator"}
    assert metadata["labels"]["team"] == "data"
    # The selector still finds its pods.
    assert spec["selector"]["matchLabels"].items() <= metadata["labels"].items()


def test_what_is_switched_off_is_not_there(helm: Helm) -> None:
    values = {"connectionSecrets": False, "peopleRoles": False, "networkPolicy": {"enabled": False}}
    for namespaces in ([], ["orders"]):
        manifests = helm.render(CHART, {**values, "namespaces": namespaces})
        assert not pick(manifests, "NetworkPolicy")
        rules = [rule for m in pick(manifests, "Role", "ClusterRole") for rule in m["rules"]]
        assert not [rule for rule in rules if "secrets" in rule["resources"]]
        assert {m["metadata"]["name"] for m in pick(manifests, "Role", "ClusterRole")} == {
            "pipeline-approver-operator",
            "pipeline-approver-leader",
        }


def test_outbound_calls_are_limited_only_when_asked(helm: Helm) -> None:
    egress = [{"ports": [{"port": 443}]}]
    limited = named(helm.render(CHART, {"networkPolicy": {"egress": egress}}), "NetworkPolicy")["spec"]
    assert (limited["policyTypes"], limited["egress"]) == (["Ingress", "Egress"], egress)
    open_ = named(helm.render(CHART), "NetworkPolicy")["spec"]
    assert (open_["policyTypes"], "egress" in open_) == (["Ingress"], False)


def test_labels_for_prometheus_are_added_and_ours_stay(helm: Helm) -> None:
    labels = {"release": "prometheus", "app.kubernetes.io/name": "other"}
    switches = {"podMonitor": True, "rules": True}
    manifests = helm.render(CHART, {"monitoring": {**switches, "labels": labels}})
    for manifest in pick(manifests, "PodMonitor", "PrometheusRule"):
        assert manifest["metadata"]["labels"]["release"] == "prometheus"
        assert manifest["metadata"]["labels"]["app.kubernetes.io/name"] == "pipeline-approver"


def test_the_notes_say_what_to_do_next(helm: Helm) -> None:
    notes = helm.notes(CHART, {}, "feldera")
    assert "watches all namespaces" in notes
    assert "kubectl -n feldera create secret generic feldera" in notes
    assert "--set policies.approveVerb=true" in notes
    settled = helm.notes(CHART, {"feldera": {"url": "http://f:8080"}, "policies": {"approveVerb": True}})
    assert "create secret" not in settled
    assert "approveVerb" not in settled


def test_lint_finds_nothing_but_the_missing_icon(helm: Helm) -> None:
    report = helm.lint(CHART)
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]
    assert report["errors"] == []


def test_an_archive_brings_the_definition_along(helm: Helm, tmp_path: pathlib.Path) -> None:
    command = ["make", "--silent", "chart", f"BUILD={tmp_path / 'build'}", f"DIST={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    archive = pathlib.Path(done.stdout.strip())
    assert archive.name == f"pipeline-approver-{pipeline_approver.__version__}.tgz"
    packed = helm.load(archive)
    assert packed["metadata"]["version"] == pipeline_approver.__version__
    (definition,) = packed["crds"]
    assert yaml.safe_load(definition["data"]) == yaml.safe_load((ROOT / "crds" / "pipelines.yaml").read_text())
    assert not [file["name"] for file in packed["files"] if file["name"].endswith(("kustomization.yaml", "_test.yaml"))]
    everything = {"policies": dict.fromkeys(VALUES["policies"], True), **SWITCHES["monitoring"]}
    assert by_identity(helm.render(archive, everything)) == by_identity(helm.render(CHART, everything))


WRONG = {
    "an unknown key": {"replica": 2},
    "an unknown key inside": {"image": {"name": "x"}},
    "a key in plain sight": {"feldera": {"apiKey": "apikey:secret"}},
    "replicas that are text": {"replicas": "2"},
    "half a replica": {"replicas": 1.5},
    "a namespace that is none": {"namespaces": ["Orders"]},
    "namespaces that are text": {"namespaces": "orders"},
    "a namespace twice": {"namespaces": ["orders", "orders"]},
    "a tag in the repository's place": {"image": {"repository": "UPPER"}},
    "half a digest": {"image": {"digest": "sha256:00"}},
    "a pull policy that is none": {"image": {"pullPolicy": "Sometimes"}},
    "a url with credentials": {"feldera": {"url": "https://me:secret@feldera"}},
    "a url without scheme": {"feldera": {"url": "feldera:8080"}},
    "two sources of certificates": {"feldera": {"ca": {"configMap": "a", "secret": "b"}}},
    "a token for a minute": {"feldera": {"token": {"expirationSeconds": 60}}},
    "a word that the operator does not know": {"oneShot": "sometimes"},
    "no pause": {"pollInterval": 0},
    "four eyes without the stamp": {"policies": {"fourEyes": True}},
    "a switch that is text": {"policies": {"approveVerb": "true"}},
    "a label that is a number": {"podLabels": {"a": 1}},
    "tolerations that are none": {"tolerations": {"key": "infra"}},
    "a variable without a name": {"env": [{"value": "x"}]},
}


@pytest.mark.parametrize("case", WRONG)
def test_the_schema_refuses(helm: Helm, case: str) -> None:
    merged = merge(VALUES, WRONG[case])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(merged, SCHEMA)
    with pytest.raises(Refused):
        helm.render(CHART, WRONG[case])


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """As Helm merges values."""
    merged = dict(base)
    for key, value in over.items():
        inner = base.get(key)
        merged[key] = merge(inner, value) if isinstance(value, dict) and isinstance(inner, dict) else value
    return merged


def test_the_defaults_satisfy_the_schema_and_every_key_is_described() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES, SCHEMA)
    jsonschema.validate({**VALUES, "global": {"anything": 1}}, SCHEMA)
    assert set(VALUES) == set(SCHEMA["properties"]) - {"global"}
    for key, value in VALUES.items():
        inner = SCHEMA["properties"][key]
        assert inner["description"]
        if inner.get("additionalProperties") is False:
            assert set(value) <= set(inner["properties"]), key
            assert all("description" in field for field in inner["properties"].values() if field.get("properties"))


def test_its_versions_are_those_of_the_operator() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (pipeline_approver.__version__, pipeline_approver.__version__)


def test_every_rule_of_a_role_has_its_reason_in_a_comment() -> None:
    found = 0
    for file in sorted((CHART / "templates").iterdir()):
        lines = file.read_text().splitlines()
        for number, line in enumerate(lines):
            if re.match(r" *- apiGroups:", line):
                assert re.match(r" *# ", lines[number - 1]), f"{file.name}:{number + 1}"
                found += 1
    assert found == 10
