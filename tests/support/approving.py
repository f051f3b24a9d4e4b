"""Who may set approve and reject, to which values, and in whose name: the table for the policy approve-verb."""

from typing import Any

from support.pipelines import DIGEST, EARLIER, OTHER, WAITING, pipeline, waiting

NEEDS = "needs the verb approve on pipelines.pipeline-approver.io to"
ED_APPROVES = f"user ed {NEEDS} set pipeline-approver.io/approve"
ED_REJECTS = f"user ed {NEEDS} set pipeline-approver.io/reject"
ED_RULES = f"user ed {NEEDS} set spec.autoApprove"
ED_CONNECTS = f"user ed {NEEDS} change spec.connectionSecretRef"
ED_NAMES = f"user ed {NEEDS} change pipeline-approver.io/approved-by"
ED_TURNS = f"user ed {NEEDS} change spec.pipelineName while"
STALE_ID = f"{OTHER} is not the request that waits: that is {WAITING}"
NONE_WAITS = f"{OTHER} is not the request that waits: none waits"
BEFORE = pipeline(status=waiting())
TRUE = pipeline(status=waiting(), approve="true")
USED = pipeline(status=waiting(handled={"approve": "true"}), approve="true")
DIGESTED = pipeline(status=waiting(), approve=DIGEST)
DECIDED = pipeline(status=waiting(), approve=WAITING)
STALE = pipeline(status=waiting(), approve=OTHER)
NAMED = pipeline(status=waiting(), approve=WAITING, approved_by="ann")
SECRET = {"connectionSecretRef": {"name": "feldera"}}


def changed(old: dict[str, Any], *, spec: dict[str, Any] | None = None, **annotations: str | None) -> dict[str, Any]:
    """The same Pipeline with other annotations (None takes one away) or another spec."""
    found = {key.split("/")[1]: value for key, value in old["metadata"].get("annotations", {}).items()}
    found |= {key.replace("_", "-"): value for key, value in annotations.items() if value is not None}
    for key, value in annotations.items():
        if value is None:
            found.pop(key.replace("_", "-"), None)
    return pipeline(
        name=old["metadata"]["name"],
        namespace=old["metadata"]["namespace"],
        status=old.get("status"),
        spec=old["spec"] if spec is None else spec,
        **found,
    )


# What is refused: who, from, to, and what kubectl prints.
REFUSED = {
    "an editor approves": ("ed", BEFORE, changed(BEFORE, approve=WAITING), ED_APPROVES),
    "an editor approves by true": ("ed", BEFORE, changed(BEFORE, approve="true"), ED_APPROVES),
    "an editor approves by digest": ("ed", BEFORE, changed(BEFORE, approve=DIGEST), ED_APPROVES),
    "an editor renews a token": ("ed", TRUE, changed(TRUE, approve="true@2"), ED_APPROVES),
    "an editor rejects": ("ed", BEFORE, changed(BEFORE, reject=WAITING), ED_REJECTS),
    "a stranger approves": ("eve", BEFORE, changed(BEFORE, approve=WAITING), "user eve needs the verb approve"),
    "an editor creates an approved one": ("ed", None, pipeline(approve="true"), ED_APPROVES),
    "an editor creates a rejected one": ("ed", None, pipeline(reject="true"), ED_REJECTS),
    "the right to another Pipeline": (
        "sue",
        pipeline(name="totals", status=waiting()),
        pipeline(name="totals", status=waiting(), approve=WAITING),
        "user sue needs the verb approve",
    ),
    "the right in another namespace": (
        "team",
        BEFORE,
        changed(BEFORE, approve=WAITING),
        "user team needs the verb approve",
    ),
    "an id put back over another": ("ed", DECIDED, changed(DECIDED, approve=EARLIER), "user ed needs the verb approve"),
    "a prefix of the id": ("ann", BEFORE, changed(BEFORE, approve=WAITING[:8]), "a part of one is not accepted"),
    "a prefix of the id, to reject": (
        "ann",
        BEFORE,
        changed(BEFORE, reject=WAITING[:8]),
        "a part of one is not accepted",
    ),
    "upper case": (
        "ann",
        BEFORE,
        changed(BEFORE, approve=WAITING.upper()),
        "pipeline-approver.io/approve must be true",
    ),
    "a prefix of a digest": ("ann", BEFORE, changed(BEFORE, approve=DIGEST[:20]), "must be true, true@<1 to 64"),
    "yes": ("ann", BEFORE, changed(BEFORE, approve="yes"), "pipeline-approver.io/approve must be true"),
    "True": ("ann", BEFORE, changed(BEFORE, reject="True"), "pipeline-approver.io/reject must be true"),
    "a line break": ("ann", BEFORE, changed(BEFORE, approve="true\n"), "must be true"),
    "an emoji": ("ann", BEFORE, changed(BEFORE, approve="👍"), "must be true"),
    "an empty nonce": ("ann", BEFORE, changed(BEFORE, approve="true@"), "must be true"),
    "a nonce that is too long": ("ann", BEFORE, changed(BEFORE, approve="true@" + "x" * 65), "must be true"),
    "malformed at create": ("ann", None, pipeline(approve="now"), "must be true"),
    "a stale id": ("ann", BEFORE, changed(BEFORE, approve=OTHER), f"approve={STALE_ID}"),
    "a stale id, to reject": ("ann", BEFORE, changed(BEFORE, reject=OTHER), f"reject={STALE_ID}"),
    "an id while nothing waits": ("ann", pipeline(status={}), pipeline(status={}, approve=OTHER), NONE_WAITS),
    "an id before the first status": ("ann", pipeline(), pipeline(approve=OTHER), NONE_WAITS),
    "in somebody else's name": (
        "ann",
        BEFORE,
        changed(BEFORE, approve=WAITING, approved_by="bob"),
        "approved-by must be ann",
    ),
    "in an older name": ("bob", NAMED, changed(NAMED, approve="true"), "approved-by must be bob"),
    "a name put under a decision": ("ed", DECIDED, changed(DECIDED, approved_by="ed"), ED_NAMES),
    "a name taken from a decision": ("ed", NAMED, changed(NAMED, approved_by=None), ED_NAMES),
    "an editor, a name at create": ("ed", None, pipeline(approved_by="ed"), ED_NAMES),
    "another connection": ("ed", BEFORE, changed(BEFORE, spec=SECRET), ED_CONNECTS),
    "no connection any more": ("ed", pipeline(spec=SECRET), pipeline(), ED_CONNECTS),
    "a rule": ("ed", BEFORE, changed(BEFORE, spec={"autoApprove": "true"}), ED_RULES),
    "a rule at create": ("ed", None, pipeline(spec={"autoApprove": "risk == 'Additive'"}), ED_RULES),
    "another rule": ("ed", pipeline(spec={"autoApprove": "false"}), pipeline(spec={"autoApprove": "true"}), ED_RULES),
    "a true turned to another pipeline": ("ed", TRUE, changed(TRUE, spec={"pipelineName": "totals"}), ED_TURNS),
    "a digest turned to another pipeline": (
        "ed",
        DIGESTED,
        changed(DIGESTED, spec={"pipelineName": "totals"}),
        ED_TURNS,
    ),
    "a rule turned to another pipeline": (
        "ed",
        pipeline(spec={"autoApprove": "true"}),
        pipeline(spec={"autoApprove": "true", "pipelineName": "totals"}),
        ED_TURNS,
    ),
    "a true that is not used up, to reject": (
        "ed",
        pipeline(status=waiting(handled={"approve": "true"}), reject="true"),
        pipeline(status=waiting(handled={"approve": "true"}), reject="true", spec={"pipelineName": "totals"}),
        ED_TURNS,
    ),
}

ALLOWED = {
    "an approver approves": ("ann", BEFORE, changed(BEFORE, approve=WAITING)),
    "an approver approves by true": ("ann", BEFORE, changed(BEFORE, approve="true")),
    "an approver approves once more": ("ann", TRUE, changed(TRUE, approve="true@release-42")),
    "an approver rejects": ("ann", BEFORE, changed(BEFORE, reject=WAITING)),
    "an approver, in the own name": ("ann", BEFORE, changed(BEFORE, approve=WAITING, approved_by="ann")),
    "an approver takes over": ("bob", NAMED, changed(NAMED, approve="true", approved_by="bob")),
    "the right to this Pipeline": ("sue", BEFORE, changed(BEFORE, approve=WAITING)),
    "the right in this namespace": (
        "team",
        pipeline(namespace="team", status=waiting()),
        pipeline(namespace="team", status=waiting(), approve=WAITING),
    ),
    "an account with all verbs": ("argo", BEFORE, changed(BEFORE, approve="true")),
    "an approver creates an approved one": ("ann", None, pipeline(approve="true")),
    "an id of a past life at create": ("ann", None, pipeline(approve=WAITING)),
    "the digest of a change to come": ("ann", BEFORE, changed(BEFORE, approve="sha256:" + "ff" * 32)),
    "an id that was decided before": ("ann", BEFORE, changed(BEFORE, approve=EARLIER)),
    "an editor creates an undecided one": ("ed", None, pipeline()),
    "an editor creates one of another connection": ("ed", None, pipeline(spec=SECRET)),
    "an editor changes the spec": ("ed", BEFORE, changed(BEFORE, spec={"outputs": "Silent"})),
    "an editor changes beside a decision": ("ed", DECIDED, changed(DECIDED, spec={"suspend": True})),
    "an editor changes beside a stale id": ("ed", STALE, changed(STALE, spec={"suspend": True}, reason="so")),
    "an editor turns an id to another pipeline": ("ed", DECIDED, changed(DECIDED, spec={"pipelineName": "totals"})),
    "an editor turns a used true to another pipeline": ("ed", USED, changed(USED, spec={"pipelineName": "totals"})),
    "an editor takes a decision back": ("ed", DECIDED, changed(DECIDED, approve=None)),
    "an editor sets false": ("ed", DECIDED, changed(DECIDED, approve="false")),
    "an editor sets nothing": ("ed", DECIDED, changed(DECIDED, approve="")),
    "an editor takes decision and name back": ("ed", NAMED, changed(NAMED, approve=None, approved_by=None)),
    "an editor creates with false": ("ed", None, pipeline(approve="false", reject="")),
    "an editor takes a rule away": ("ed", pipeline(spec={"autoApprove": "true"}), pipeline()),
    "an editor keeps a rule": (
        "ed",
        pipeline(spec={"autoApprove": "true"}),
        pipeline(spec={"autoApprove": "true", "suspend": True}),
    ),
    "an approver sets a rule": ("ann", BEFORE, changed(BEFORE, spec={"autoApprove": "true"})),
    "an approver changes the connection": ("ann", BEFORE, changed(BEFORE, spec=SECRET)),
    "other annotations": ("ed", BEFORE, changed(BEFORE, reason="a good one")),
}
