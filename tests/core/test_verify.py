"""The last look before a call: Feldera's `/approve` checks nothing itself."""

import dataclasses
from typing import Any

import pytest

from pipeline_approver.core.change import Outputs
from pipeline_approver.core.observation import Program
from pipeline_approver.core.requests import verify
from support.cases import PROGRAM, VIEW, make_diff, sending

OBJECTIONS: list[tuple[dict[str, Any], str]] = [
    ({"id": "pipeline-2"}, "another pipeline has taken the name"),
    ({"deployment_id": "deployment-2"}, "the pipeline was stopped or started again"),
    ({"deployment_id": None}, "the pipeline was stopped or started again"),
    ({"status": "Bootstrapping"}, "the pipeline is Bootstrapping"),
    ({"status": ""}, "the pipeline is in no known state"),
    ({"resources_desired_status": "Stopped"}, "the pipeline is being stopped"),
    ({"diff": None}, "Feldera does not show the change"),
    ({"diff": make_diff(removed_tables=["orders"])}, "the change is another one"),
]


@pytest.mark.parametrize("annotation", ["approve", "reject"])
@pytest.mark.parametrize(("facts", "objection"), OBJECTIONS, ids=[row[1] for row in OBJECTIONS])
def test_a_call_is_not_made_for_anything_but_what_was_decided(
    facts: dict[str, Any], objection: str, annotation: str
) -> None:
    _, act = sending(annotation)
    assert verify(act, VIEW, PROGRAM) == ""
    assert verify(act, dataclasses.replace(VIEW, **facts), PROGRAM) == objection


@pytest.mark.parametrize("annotation", ["approve", "reject"])
def test_a_call_is_not_made_for_what_is_gone_or_cannot_be_compared(annotation: str) -> None:
    _, act = sending(annotation)
    assert verify(act, None, PROGRAM) == "the pipeline no longer exists"
    assert verify(act, VIEW, None) == "Feldera does not show the change"
    other = Program(program_code="b" * 64, udf_rust="", udf_toml="")
    assert verify(act, VIEW, other) == "the change is another one"
    assert verify(dataclasses.replace(act, outputs=Outputs.SILENT), VIEW, PROGRAM) == "the change is another one"


@pytest.mark.parametrize(("wanted", "shown_as"), [("Standby", "Standby"), ("", "in no known state")])
def test_only_an_approval_needs_a_pipeline_that_is_wanted_running(wanted: str, shown_as: str) -> None:
    (_, approve), (_, reject) = sending("approve"), sending("reject")
    view = dataclasses.replace(VIEW, desired_status=wanted)
    assert verify(approve, view, PROGRAM) == f"the pipeline is wanted {shown_as}, not Running or Paused"
    assert verify(reject, view, PROGRAM) == ""
    assert verify(approve, dataclasses.replace(VIEW, desired_status="Paused"), PROGRAM) == ""
