"""Strategies for what comes from outside: near what is expected, and far from it."""

import datetime
from typing import Any

from hypothesis import strategies as st

from pipeline_approver.core.case import Case, Observation, OneShot, Problem, Rules
from pipeline_approver.core.change import Outputs
from pipeline_approver.core.resource import CheckpointMode, Resource
from pipeline_approver.core.tokens import parse_token
from pipeline_approver.feldera import wire
from support.cases import NOW, PROGRAM
from support.feldera import build_row

LARGEST = 2**63 - 1

ODD_TEXTS = (
    *("", " ", "\x00", "\n", "\ud800", "\udcff", "\u202e", "\ufeff", "é", "🍝", "%2F", "../..", "null", "{}", "true"),
    *("x" * 65, "x" * 129, "x" * 1025, "🍝" * 2000, "-", "0", "1e9", "-1", "٣", "sha256:", "a\x1b[31mb"),
)
TEXT = st.text(st.characters(), max_size=12) | st.sampled_from(ODD_TEXTS)
NUMBER = (
    st.integers()
    | st.floats()
    | st.sampled_from([0, -1, 1, 2**31, LARGEST, LARGEST + 1, 2**64 - 1, 10**300, True, False])
)


def nest(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT | st.sampled_from([nest(40), nest(400)]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
"""Any JSON that Python can write, NaN and lone surrogates among it."""

NAMES = st.lists(st.sampled_from(["v", "w", "t.c", "daily", "🍝", "a" * 200, "\ud800", ""]) | TEXT, max_size=25)
PARTS = [f"{verb}_{noun}" for noun in ("tables", "views") for verb in ("added", "removed", "modified")]
CONNECTORS = [f"{verb}_{kind}_connectors" for kind in ("input", "output") for verb in ("added", "removed", "modified")]

PROGRAM_DIFFS = st.fixed_dictionaries({}, optional=dict.fromkeys(PARTS, NAMES)) | st.none() | JSON
DIFFS = (
    st.fixed_dictionaries(
        {"program_diff": PROGRAM_DIFFS},
        optional={"program_diff_error": TEXT | st.none() | JSON, "novelty": JSON, **dict.fromkeys(CONNECTORS, NAMES)},
    )
    | JSON
)
DETAILS = (
    DIFFS.map(lambda diff: {"approval_diff": diff})
    | DIFFS
    | st.sampled_from([None, "", "waiting", {}, {"reason": "lost"}, []])
    | JSON
)

STATUSES = st.sampled_from(
    ["AwaitingApproval"] * 6
    + ["Running", "Paused", "Initializing", "Bootstrapping", "Synchronizing", "Replaying"]
    + ["Unavailable", "Stopped", "Stopping", "Provisioning", "Standby", "Suspended", "3rdState", "-", "9"]
)
UUIDS = st.sampled_from([f"0199c0de-0000-7000-8000-00000000000{digit}" for digit in "12"])
ERRORS = st.none() | st.fixed_dictionaries({"error_code": TEXT, "message": TEXT | JSON})


def build_rows(**always: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Rows like Feldera's, some of whose values are anything at all."""
    odd = st.dictionaries(st.sampled_from(sorted(build_row())), JSON, max_size=2)
    likely = st.fixed_dictionaries(
        {
            "id": st.just("0198c0de-0000-7000-8000-000000000001") | UUIDS,
            "deployment_id": UUIDS | st.none(),
            "program_version": NUMBER,
            "platform_version": st.sampled_from(["0.337.0", "v0.299.9", "0", "", "not.a.version", "0." + "9" * 100]),
            "deployment_status": STATUSES | TEXT,
            "deployment_desired_status": st.sampled_from(["Running"] * 4 + ["Paused", "Stopped", "Suspended"]) | TEXT,
            "deployment_resources_desired_status": st.sampled_from(["Provisioned"] * 4 + ["Stopped"]),
            "silent_bootstrap": st.booleans(),
            "concurrent_bootstrap": st.booleans(),
            "deployment_error": ERRORS,
            "deployment_runtime_status_details": DETAILS,
        }
    )
    return st.builds(lambda row, spoilt: {**build_row(), **row, **spoilt, **always}, likely, odd)


VIEWS = build_rows(name="orders").map(wire.parse_view)
PROBLEMS = st.none() | st.builds(
    Problem,
    reason=st.sampled_from(["ConnectionRefused", "Unauthorized", "SecretNotFound"]),
    message=TEXT.map("because {}".format),
    needs_person=st.booleans(),
)
OBSERVATIONS = st.builds(
    Observation,
    view=VIEWS,
    absent=st.just(False),
    program=st.just(PROGRAM) | st.none(),
    program_problem=st.none()
    | st.builds(Problem, reason=st.just("ProgramUnreadable"), message=TEXT.map("no: {}".format)),
    problem=st.none() | st.none() | PROBLEMS,
) | st.builds(Observation, absent=st.booleans(), problem=PROBLEMS)

RULES = st.builds(Rules, one_shot=st.sampled_from(OneShot))
ODD_TOKENS = (
    *(None, "", "false", "true", "true@1", "true@" + "x" * 251, "true@" + "x" * 252, "TRUE", " true", "true\n", "trüe"),
    *("3f9a1c07be4", "3f9a1c07be42", "sha256:" + "0" * 64, "sha256:" + "A" * 64, "sha256:", "🍝", "x" * 300_000),
)
TOKENS = st.sampled_from(ODD_TOKENS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
"""Annotation values: Kubernetes takes any text that is UTF-8."""

RESOURCES = st.builds(
    Resource,
    uid=st.just("uid-1"),
    namespace=st.just("shop"),
    name=st.sampled_from(["orders", "o" * 253]),
    resource_version=st.just("1"),
    generation=st.integers(0, LARGEST),
    created_at=st.just(NOW),
    deleting=st.sampled_from([False] * 9 + [True]),
    pipeline_name=st.sampled_from(["orders", "O_" * 50]),
    outputs=st.sampled_from([None, *Outputs]),
    checkpoint=st.sampled_from(CheckpointMode),
    suspend=st.sampled_from([False] * 4 + [True]),
    approve=TOKENS.map(parse_token),
    reject=(st.none() | st.none() | TOKENS).map(parse_token),
    reason=st.text(max_size=20),
    approved_by=st.text(max_size=20),
)
CASES = st.builds(
    Case,
    resource=RESOURCES,
    observation=OBSERVATIONS,
    now=st.just(NOW) | st.datetimes(timezones=st.just(datetime.UTC)).filter(lambda at: 2000 < at.year < 9000),
    rules=RULES,
    duplicate_of=st.sampled_from(["", "", "", "shop/older"]),
    released=st.frozensets(st.sampled_from(["approve", "reject"])),
)
