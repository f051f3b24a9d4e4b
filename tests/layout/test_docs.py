"""Every manifest in the documentation is one that Kubernetes, kustomize or Helm takes, and every path is there."""

import pathlib
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pipeline_approver.feldera.connection import SECRET_TYPE, connection_from_secret
from support.admission import Admission, Grant, Refused
from support.docs import read_blocks, read_yaml
from support.helm import Helm
from support.kustomize import DEPLOY, ROOT, Manifest, Tree, identity, named, pick, render
from support.people import policies
from support.pipelines import WAITING, pipeline, waiting

PAGES = [ROOT / "README.md", DEPLOY / "chart" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TO_FOLLOW = [ROOT / "README.md", DEPLOY / "chart" / "README.md", ROOT / "docs" / "install.md"]
"""Pages that people follow with their hands on the keyboard."""
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
CRD: dict[str, Any] = yaml.safe_load((ROOT / "crds" / "pipelines.yaml").read_text())
CHART = DEPLOY / "chart"
# Of tools whose schemas are not at hand; their own tests render or read them.
FOREIGN_GROUPS = {"kustomize.config.k8s.io", "kustomize.toolkit.fluxcd.io", "argoproj.io", "monitoring.coreos.com"}


def blocks(page: pathlib.Path, *languages: str) -> Iterator[str]:
    # A block may stand in a list, and is indented then.
    for match in re.finditer(r"^( *)```(\w+)\n(.*?)^\1```$", page.read_text(), re.MULTILINE | re.DOTALL):
        if match[2] in languages:
            yield re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)


def closed(schema: Any) -> Any:
    """The schema, refusing what the API server would prune."""
    if isinstance(schema, list):
        return [closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    return {**inner, "additionalProperties": False} if isinstance(schema.get("properties"), dict) else inner


@PAGE
def test_yaml_is_what_it_says(page: pathlib.Path) -> None:
    for text in blocks(page, "yaml", "yml"):
        for document in yaml.safe_load_all(text):
            if isinstance(document, dict) and {"apiVersion", "kind"} <= set(document):
                check(document)


def check(manifest: Manifest) -> None:
    group = manifest["apiVersion"].rpartition("/")[0]
    if group == "pipeline-approver.io":
        properties = closed(CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"])
        assert (manifest["apiVersion"], manifest["kind"]) == ("pipeline-approver.io/v1alpha1", "Pipeline")
        jsonschema.validate(manifest.get("spec", {}), properties["spec"])
        jsonschema.validate(manifest.get("status", {}), properties["status"])
    elif group not in FOREIGN_GROUPS:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    if manifest.get("type") == SECRET_TYPE:
        assert set(manifest["stringData"]) <= {"url", "api-key", "ca.crt"}


@pytest.mark.parametrize("page", TO_FOLLOW, ids=lambda page: page.name)
def test_paths_and_make_targets_exist(page: pathlib.Path) -> None:
    text = page.read_text()
    for path in re.findall(r"(?<![\w/.-])((?:deploy|crds)/[\w./-]*\w)", text):
        assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (page.parent / link).exists(), link
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z0-9-]+)", text)) <= targets


def own(tree: Tree, block: str) -> list[Manifest]:
    """What a kustomization from the page makes, written beside deploy/."""
    folder = tree.folder / block
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(read_blocks("install.md")[block])
    return render(folder)


def test_kustomization_and_values_for_ones_own_registry_make_the_same(tree: Tree, helm: Helm) -> None:
    made = own(tree, "own-kustomization")
    charted = helm.render(CHART, read_yaml("install.md", "own-values"), "pipeline-approver-system")
    (container,) = named(made, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/pipeline-approver:0.1.0"
    assert {identity(manifest): manifest for manifest in charted} == {
        identity(manifest): manifest
        for manifest in made
        if manifest["kind"] not in ("Namespace", "CustomResourceDefinition")
    }


def test_token_and_certificates_are_set_up_alike_both_ways(tree: Tree, helm: Helm) -> None:
    made = named(own(tree, "token-kustomization"), "Deployment")
    charted = named(
        helm.render(CHART, read_yaml("install.md", "token-values"), "pipeline-approver-system"), "Deployment"
    )
    for deployment in (made, charted):
        pod = deployment["spec"]["template"]["spec"]
        pod["volumes"].sort(key=lambda volume: str(volume["name"]))
        (container,) = pod["containers"]
        for key in ("env", "volumeMounts"):
            container[key].sort(key=lambda entry: str(entry["name"]))
    assert made == charted


@pytest.mark.parametrize("block", [name for name in read_blocks("install.md") if name.endswith("-values")])
def test_values_are_taken_and_make_valid_manifests(helm: Helm, block: str) -> None:
    manifests = helm.render(CHART, read_yaml("install.md", block))
    for manifest in manifests:
        check(manifest)
    assert pick(manifests, "Deployment")


def test_the_connection_of_a_team_is_one_that_the_operator_takes() -> None:
    import base64

    secret, manifest = yaml.safe_load_all(read_blocks("install.md")["team-connection"])
    data = {key: base64.b64encode(value.encode()).decode() for key, value in secret.pop("stringData").items()}
    connection = connection_from_secret({**secret, "data": data})
    assert connection.url == "https://feldera.example.com"
    assert manifest["spec"]["connectionSecretRef"]["name"] == secret["metadata"]["name"]
    assert manifest["metadata"]["namespace"] == secret["metadata"]["namespace"]


def test_the_role_for_one_pipeline_approves_that_one() -> None:
    role = read_yaml("install.md", "one-pipeline")
    server = Admission(policies("approve-verb"), [Grant("ann", role, role["metadata"]["namespace"])])

    def approve(name: str) -> None:
        before, after = ({"name": name, "namespace": "orders", "status": waiting()} for _ in range(2))
        server.write("ann", pipeline(**after, approve=WAITING), pipeline(**before))  # type: ignore[arg-type]

    approve("orders")
    with pytest.raises(Refused, match="user ann needs the verb approve"):
        approve("totals")


def test_the_rights_in_the_table_are_those_of_the_manifests() -> None:
    text = (ROOT / "docs" / "install.md").read_text()
    table = set(re.findall(r"^\| ([a-z, ]+) `([a-z/]+)` \|", text, re.MULTILINE))
    files = [file for file in (DEPLOY / "overlays" / "cluster-wide").glob("*rbac*.yaml") if "people" not in file.name]
    rules = [rule for file in files for m in yaml.safe_load_all(file.read_text()) for rule in m.get("rules", [])]
    granted = {(", ".join(rule["verbs"]), rule["resources"][0]) for rule in rules}
    assert table == granted
