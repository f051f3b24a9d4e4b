"""The users, the roles and the policies that the tables speak of."""

import pathlib
from typing import Any

import yaml

from support.admission import Admission, Grant

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
ROLES = {
    role["metadata"]["name"]: role
    for role in yaml.safe_load_all((DEPLOY / "overlays" / "cluster-wide" / "033-rbac-people.yaml").read_text())
}
FOUR_EYES = {"pipeline-approver.io/four-eyes": "required"}
APPROVE_ORDERS = {
    "rules": [
        {
            "apiGroups": ["pipeline-approver.io"],
            "resources": ["pipelines"],
            "resourceNames": ["orders"],
            "verbs": ["approve"],
        }
    ]
}
EVERYTHING = {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
EDITORS = ("ed", "ann", "bob", "sue", "team")
GRANTS = [
    *(Grant(user, ROLES["pipeline-editor"]) for user in EDITORS),
    Grant("ann", ROLES["pipeline-approver"]),
    Grant("bob", ROLES["pipeline-approver"]),
    Grant("sue", APPROVE_ORDERS),
    Grant("team", ROLES["pipeline-approver"], namespace="team"),
    Grant("argo", EVERYTHING),
]
NAMESPACES = {"default": {}, "team": {}, "strict": FOUR_EYES}


def policies(*components: str) -> list[dict[str, Any]]:
    files = [DEPLOY / "chart" / "files" / component / "policy.yaml" for component in components]
    return [manifest for file in files for manifest in yaml.safe_load_all(file.read_text())]


def build(*components: str, without: int | None = None) -> Admission:
    """`ed` edits; `ann` and `bob` approve; `sue` approves `orders` alone; `team` in its namespace; `argo` may do all.

    `without` takes one validation out of the last validating policy, to see what it is good for.
    """
    manifests = policies(*components)
    if without is not None:
        [*_, last] = (manifest for manifest in manifests if "validations" in manifest["spec"])
        del last["spec"]["validations"][without]
    return Admission(manifests, grants=GRANTS, namespaces=NAMESPACES)
