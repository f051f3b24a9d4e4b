"""Who is to be stamped as the one who decided: the table for the policy approved-by."""

from typing import Any

from support.pipelines import OTHER, WAITING, pipeline, waiting

STAMP = "pipeline-approver.io/approved-by"
BEFORE = pipeline(status=waiting())
STAMPED = pipeline(status=waiting(), approve=WAITING, approved_by="ann")


def stamp(manifest: dict[str, Any]) -> str | None:
    """Who decided, as the API server wrote it."""
    found = manifest["metadata"].get("annotations", {}).get(STAMP)
    return None if found is None else str(found)


OLDER_THAN_THE_POLICY = {"a decision that is older than the policy"}
CASES: dict[str, tuple[str, dict[str, Any] | None, dict[str, Any], str | None]] = {
    "a new approval": ("ann", BEFORE, pipeline(status=waiting(), approve=WAITING), "ann"),
    "a new rejection": ("ann", BEFORE, pipeline(status=waiting(), reject=WAITING), "ann"),
    "approved at create": ("ann", None, pipeline(approve="true"), "ann"),
    "somebody else's name": ("ann", BEFORE, pipeline(status=waiting(), approve=WAITING, approved_by="bob"), "ann"),
    "a changed approval": ("bob", STAMPED, pipeline(status=waiting(), approve="true", approved_by="ann"), "bob"),
    "a GitOps tool that applies the same again": ("argo", STAMPED, pipeline(status=waiting(), approve=WAITING), "ann"),
    "an editor of the spec": (
        "ed",
        STAMPED,
        pipeline(status=waiting(), approve=WAITING, approved_by="ann", spec={"suspend": True}),
        "ann",
    ),
    "an editor who writes a name": (
        "ed",
        STAMPED,
        pipeline(status=waiting(), approve=WAITING, approved_by="ed"),
        "ann",
    ),
    "an editor who takes the name away": ("ed", STAMPED, pipeline(status=waiting(), approve=WAITING), "ann"),
    "an approval taken back": ("ed", STAMPED, pipeline(status=waiting(), approved_by="ann"), None),
    "an approval taken back with false": (
        "ed",
        STAMPED,
        pipeline(status=waiting(), approve="false", approved_by="ann"),
        None,
    ),
    "an approval taken back beside a rejection": (
        "bob",
        pipeline(status=waiting(), approve=WAITING, reject=WAITING, approved_by="ann"),
        pipeline(status=waiting(), reject=WAITING, approved_by="ann"),
        "ann",
    ),
    "a name at create": ("ed", None, pipeline(approved_by="ann"), None),
    "a decision that is older than the policy": (
        "ed",
        pipeline(status=waiting(), approve=OTHER),
        pipeline(status=waiting(), approve=OTHER, approved_by="ann"),
        None,
    ),
    "nothing": ("ed", None, pipeline(), None),
}
