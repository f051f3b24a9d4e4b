"""Whatever a person writes and Feldera says: the rules never fail, never act unasked, and fit the definition."""

import json
import pathlib
from dataclasses import replace
from typing import Any

import jsonschema
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline_approver.core.case import Act, Case, ReadCheckpoint, RequestCheckpoint
from pipeline_approver.core.decision import decide
from pipeline_approver.core.requests import find_request, verify
from pipeline_approver.core.settle import (
    Accepted,
    Ambiguous,
    NotApplied,
    OtherProcess,
    Progress,
    Refused,
    Unsupported,
    settle,
)
from pipeline_approver.core.status import Status, Verdict
from pipeline_approver.core.statusjson import build_merge_patch, parse_status, render_status
from pipeline_approver.core.tokens import Token, TokenKind
from support.fuzz import CASES, LARGEST, TEXT

CRD = yaml.safe_load((pathlib.Path(__file__).parents[2] / "crds" / "pipelines.yaml").read_text())


def close(schema: Any) -> Any:
    """The schema with its bounds of int64, and refusing what the API server would prune."""
    if isinstance(schema, list):
        return [close(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: close(inner) for key, inner in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed["additionalProperties"] = False
    if schema.get("format") == "int64":
        closed["maximum"] = LARGEST
    if schema.get("format") == "date-time":
        closed["pattern"] = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"
    return closed


STATUS = jsonschema.Draft202012Validator(
    close(CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"])
)

ANSWERS = st.one_of(
    st.builds(Accepted, number=st.none() | st.integers(0, LARGEST), incarnation=TEXT),
    st.builds(Refused, message=TEXT),
    st.builds(Unsupported, message=TEXT),
    st.builds(NotApplied, message=TEXT),
    st.builds(Ambiguous, message=TEXT),
    st.builds(Progress, success=st.none() | st.integers(0, LARGEST), failure=st.none() | TEXT),
    st.just(OtherProcess()),
)
STEPS = st.lists(st.tuples(CASES, ANSWERS), min_size=1, max_size=6)


def check_status(status: Status) -> dict[str, Any]:
    """The API server takes it, and gives back what was written."""
    rendered = render_status(status)
    STATUS.validate(rendered)
    text = json.dumps(rendered, ensure_ascii=False, allow_nan=False)
    text.encode()
    assert parse_status(json.loads(text)) == status
    return rendered


def check_act(case: Case, act: Act) -> None:
    """A call carries out what a person wrote, or what is on record as decided."""
    claimed: Token = case.resource.approve if act.verdict is Verdict.APPROVED else case.resource.reject
    recorded = case.status.decision
    if recorded is not None and (recorded.request_id, recorded.verdict, recorded.digest, recorded.deployment_id) == (
        act.request_id,
        act.verdict,
        act.digest,
        act.deployment_id,
    ):
        return
    request = find_request(case)
    assert request is not None
    assert (request.id, request.digest, request.outputs) == (act.request_id, act.digest, act.outputs)
    match claimed.kind:
        case TokenKind.ONE_SHOT:
            assert claimed.text.startswith("true")
        case TokenKind.ID:
            assert claimed.text == request.id
        case TokenKind.DIGEST:
            assert claimed.text == request.digest
        case _:
            raise AssertionError(f"{claimed} decides nothing")
    assert not case.resource.suspend
    assert not case.resource.deleting
    assert not case.duplicate_of
    assert case.observation.problem is None
    assert verify(act, case.observation.view, case.observation.program) == ""


def follow(case: Case, status: Status) -> Case:
    """The same Pipeline, later. What was seen before something was used up says nothing any more."""
    before = case.status
    kept = (before.handled, before.decision) == (status.handled, status.decision)
    released = case.released if kept else frozenset()
    return replace(case, resource=replace(case.resource, status=status), released=released)


@given(steps=STEPS)
def test_any_story_is_told_without_failing_and_without_acting_unasked(steps: list[tuple[Case, Any]]) -> None:
    status = Status()
    for case, answer in steps:
        case = follow(case, status)
        plan = decide(case)
        rendered = check_status(plan.status)
        patch = build_merge_patch(render_status(status), rendered)
        assert apply_patch(render_status(status), patch) == rendered
        if isinstance(plan.action, Act):
            check_act(case, plan.action)
            # The decision is on record before the call.
            decision = plan.status.decision
            assert decision is not None
            assert (decision.request_id, decision.verdict) == (plan.action.request_id, plan.action.verdict)
        status = plan.status
        if isinstance(plan.action, Act | RequestCheckpoint | ReadCheckpoint):
            status = settle(follow(case, status), plan.action, answer)
            check_status(status)
        assert len(status.history) <= 10


@given(steps=STEPS)
def test_what_is_decided_once_is_not_written_again(steps: list[tuple[Case, Any]]) -> None:
    """A Pipeline at rest causes no writes: the same facts give the same status, also at another time."""
    status = Status()
    for case, answer in steps:
        case = follow(case, status)
        plan = decide(case)
        if plan.action is None:
            again = decide(follow(case, plan.status))
            assert not isinstance(again.action, Act)
            if again.action is None:
                assert again.status == plan.status
        status = plan.status
        if isinstance(plan.action, Act | RequestCheckpoint | ReadCheckpoint):
            status = settle(follow(case, status), plan.action, answer)


@given(case=CASES)
def test_nothing_is_approved_where_nobody_wrote_anything(case: Case) -> None:
    silent = replace(case, resource=replace(case.resource, approve=Token(), reject=Token()))
    plan = decide(silent)
    assert not isinstance(plan.action, Act)
    assert plan.status.decision is None


def apply_patch(before: Any, patch: Any) -> Any:
    """RFC 7386, by the book."""
    if not isinstance(patch, dict):
        return patch
    result = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_patch(result.get(key), value)
    return result
