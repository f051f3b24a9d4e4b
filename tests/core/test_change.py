"""Diffs: read, summed up, identified, classed."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_approver.core.change import (
    SHOWN_NAMES,
    Outputs,
    build_request_id,
    digest_change,
    parse_change,
    render_change,
    summarise,
)
from pipeline_approver.core.observation import Program
from pipeline_approver.core.risk import SHOWN_REASONS, Risk, assess_risk
from support.cases import JSON, PROGRAM, make_diff


def classify(outputs: Outputs = Outputs.EMIT, program: Program = PROGRAM, **names: list[str]) -> Risk:
    return assess_risk(parse_change(make_diff(**names)), program=program, outputs=outputs)[0]


@pytest.mark.parametrize(
    ("names", "risk"),
    [
        ({"added_views": ["v"]}, Risk.ADDITIVE),
        ({"added_tables": ["t"]}, Risk.ADDITIVE),
        ({"added_output_connectors": ["v.c"]}, Risk.ADDITIVE),
        ({"added_tables": ["t"], "added_input_connectors": ["t.c"]}, Risk.ADDITIVE),
        ({"added_input_connectors": ["t.c"]}, Risk.REINGESTS),
        ({"modified_views": ["v"]}, Risk.REEMITS),
        ({"removed_output_connectors": ["v.c"]}, Risk.REEMITS),
        ({"modified_input_connectors": ["t.c"]}, Risk.REINGESTS),
        ({"removed_input_connectors": ["t.c"]}, Risk.REINGESTS),
        ({"modified_output_connectors": ["v.c"]}, Risk.DESTRUCTIVE),
        ({"modified_tables": ["t"]}, Risk.DESTRUCTIVE),
        ({"removed_tables": ["t"]}, Risk.DESTRUCTIVE),
        ({"removed_views": ["v"]}, Risk.DESTRUCTIVE),
        ({}, Risk.UNKNOWN),
    ],
    ids=str,
)
def test_each_part_of_a_diff_has_its_class(names: dict[str, list[str]], risk: Risk) -> None:
    assert classify(**names) is risk


def test_the_highest_class_counts_and_comes_first() -> None:
    diff = make_diff(added_views=["a"], modified_views=["b"], removed_tables=["t"])
    risk, reasons = assess_risk(parse_change(diff), program=PROGRAM, outputs=Outputs.EMIT)
    assert risk is Risk.DESTRUCTIVE
    assert [reason.split()[0] for reason in reasons] == ["removed", "modified", "added"]


def test_reasons_are_ordered_by_class_wherever_they_stand_in_a_diff() -> None:
    diff = make_diff(added_views=["a"], added_input_connectors=["t.c"], removed_output_connectors=["v.c"])
    risk, reasons = assess_risk(parse_change(diff), program=PROGRAM, outputs=Outputs.EMIT)
    assert risk is Risk.REINGESTS
    assert reasons == (
        "added input connector t.c may read into its table what is already there",
        "removed output connector v.c leaves its sink stale",
        "added view a",
    )


def test_of_too_many_reasons_the_gravest_are_shown_and_the_rest_counted() -> None:
    names = [f"v{number:02}" for number in range(SHOWN_REASONS)]
    change = parse_change(make_diff(added_views=names))
    _, reasons = assess_risk(change, program=PROGRAM, outputs=Outputs.EMIT)
    assert reasons == tuple(f"added view {name}" for name in names)
    change = parse_change(make_diff(added_views=names, removed_tables=["t"]))
    _, reasons = assess_risk(change, program=PROGRAM, outputs=Outputs.EMIT)
    assert reasons == (
        "removed table t loses its rows",
        *(f"added view {name}" for name in names[: SHOWN_REASONS - 2]),
        "and 2 more",
    )


def test_what_feldera_could_not_compute_is_told_in_its_words() -> None:
    change = parse_change(json.dumps({"program_diff": None, "program_diff_error": "no IR"}))
    risk, reasons = assess_risk(change, program=PROGRAM, outputs=Outputs.EMIT)
    assert (risk, reasons) == (Risk.UNKNOWN, ("Feldera could not compute the difference: no IR",))


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (Outputs.EMIT, "modified view v is computed again and sent whole to its sinks"),
        (Outputs.SILENT, "modified view v is computed again; silently, so its sinks keep what they last received"),
    ],
)
def test_a_modified_view_is_sent_or_kept_as_the_outputs_say(outputs: Outputs, reason: str) -> None:
    _, reasons = assess_risk(parse_change(make_diff(modified_views=["v"])), program=PROGRAM, outputs=outputs)
    assert reasons == (reason,)


def test_a_modified_view_names_what_it_feeds() -> None:
    program = Program(program_code="a", udf_rust="", udf_toml="", feeds=(("totals", ("kafka_out",)),))
    _, reasons = assess_risk(parse_change(make_diff(modified_views=["totals"])), program=program, outputs=Outputs.EMIT)
    assert reasons == ("modified view totals feeds kafka_out",)


@pytest.mark.parametrize(
    "diff",
    [
        {"program_diff": None, "program_diff_error": "no IR"},
        {"program_diff": {"added_views": ["v"], "teleported_views": []}},
        {"program_diff": {"added_views": "v"}},
        {"program_diff": {"added_views": [1]}},
        {"program_diff": {"added_views": ["v"]}, "added_tables": ["t"]},
        {"program_diff": {"added_views": ["v"]}, "renamed_pipeline": True},
        {"program_diff": 3},
        {},
        [],
        None,
        "text",
    ],
    ids=str,
)
def test_what_is_not_understood_is_unknown(diff: Any) -> None:
    risk, reasons = assess_risk(parse_change(json.dumps(diff)), program=PROGRAM, outputs=Outputs.EMIT)
    assert risk is Risk.UNKNOWN
    assert reasons


@given(diff=JSON, known=st.sampled_from(["program_diff", "added_input_connectors", "x"]), inner=JSON)
def test_any_json_is_read_without_complaint(diff: Any, known: str, inner: Any) -> None:
    document = {**(diff if isinstance(diff, dict) else {}), known: inner}
    change = parse_change(json.dumps(document))
    risk, reasons = assess_risk(change, program=PROGRAM, outputs=Outputs.EMIT)
    assert reasons
    assert summarise(change)
    json.dumps(render_change(change))
    if change.unknown:
        assert risk is Risk.UNKNOWN
    digest_change(diff=json.dumps(document), program=PROGRAM, outputs=Outputs.EMIT)


def test_the_digest_is_what_anybody_can_compute() -> None:
    """The recipe in the documentation, written out by hand."""
    diff = make_diff(added_views=["daily"])
    text = json.dumps(
        {
            "v": 1,
            "diff": json.loads(diff),
            "program": {"program_code": "a" * 64, "udf_rust": "", "udf_toml": ""},
            "outputs": "Emit",
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    expected = "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert digest_change(diff=diff, program=PROGRAM, outputs=Outputs.EMIT) == expected


def test_two_edits_with_the_same_names_are_two_changes() -> None:
    diff = make_diff(modified_views=["v"])
    other = Program(program_code="b" * 64, udf_rust="", udf_toml="")
    digests = {digest_change(diff=diff, program=program, outputs=Outputs.EMIT) for program in (PROGRAM, other)}
    digests.add(digest_change(diff=diff, program=PROGRAM, outputs=Outputs.SILENT))
    assert len(digests) == 3


def test_an_id_belongs_to_one_resource_one_deployment_and_one_change() -> None:
    base = {"uid": "u", "pipeline_id": "p", "deployment_id": "d", "digest": "sha256:0"}
    ids = {build_request_id(**base)} | {build_request_id(**{**base, key: "other"}) for key in base}
    assert len(ids) == 5
    assert build_request_id(**{**base, "uid": "up", "pipeline_id": ""}) != build_request_id(
        **{**base, "uid": "u", "pipeline_id": "p"}
    )


def test_a_huge_change_is_bounded_in_the_status_and_says_how_much_is_left_out() -> None:
    change = parse_change(make_diff(added_views=[f"v{number:05}" + "x" * 1000 for number in range(5000)]))
    shown = render_change(change)
    assert len(shown["addedViews"]) == SHOWN_NAMES
    assert shown["omitted"] == 5000 - SHOWN_NAMES
    assert len(json.dumps(shown)) < 10_000
    _, reasons = assess_risk(change, program=PROGRAM, outputs=Outputs.EMIT)
    assert len("".join(reasons)) < 10_000
