"""The request: what it is built from, and how long it stands."""

from typing import Any

import pytest

from pipeline_approver.core.case import ReadProgram
from pipeline_approver.core.change import Outputs
from pipeline_approver.core.settle import Refused
from support.cases import NEXT_DEPLOYMENT, RUNNING, World, make_diff, shown


def test_a_request_is_shown_with_its_risk_its_change_and_the_command_to_approve_it() -> None:
    world = shown()
    request = world.status.request
    assert request is not None
    assert (request.risk, request.summary) == ("Additive", "1 view added")
    assert request.change == {"addedViews": ["daily"]}
    assert world.status.state == "AwaitingApproval"
    assert world.condition("ApprovalRequired") == ("True", "AwaitingApproval")
    assert world.condition("Ready") == ("False", "AwaitingApproval")
    assert f"pipeline-approver.io/approve={request.id}" in world.message("ApprovalRequired")


def test_the_program_is_read_before_the_request_is_built() -> None:
    world = World(program=None)
    assert world.step() == ReadProgram(deployment_id="deployment-1")
    assert world.status.request is None


@pytest.mark.parametrize(
    "facts", [RUNNING, {"status": "Running"}, {"diff": None}, {"deployment_id": None}, {"view": None, "absent": True}]
)
def test_no_program_is_read_where_nothing_waits_or_no_change_is_shown(facts: dict[str, Any]) -> None:
    world = World(program=None, **facts)
    assert world.step() is None
    assert world.status.request is None


def test_what_feldera_shows_of_a_pipeline_that_runs_is_no_request() -> None:
    """The difference may stay in its answer for a while."""
    world = shown().set(status="Running")
    world.step()
    assert world.status.request is None


@pytest.mark.parametrize("facts", [{"id": "pipeline-2"}, NEXT_DEPLOYMENT], ids=["another pipeline", "next deployment"])
@pytest.mark.parametrize("hidden", [{"status": "Unavailable", "diff": None}, {"diff": None}])
def test_a_request_that_is_hidden_is_kept_for_its_own_deployment_only(
    facts: dict[str, Any], hidden: dict[str, Any]
) -> None:
    world = shown().set(**hidden)
    world.step()
    assert world.status.request is not None
    world.set(**facts).step()
    assert world.status.request is None


def test_unavailable_does_not_withdraw_a_request() -> None:
    world = shown()
    before = world.status
    world.set(status="Unavailable", diff=None).step()
    assert world.status == before


def test_another_deployment_withdraws_a_request() -> None:
    world = shown()
    first = world.request_id
    world.set(**NEXT_DEPLOYMENT).step()
    assert world.request_id != first


def test_changing_how_outputs_are_treated_makes_another_request() -> None:
    world = shown()
    first = world.request_id
    world.set(silent_bootstrap=True).step()
    assert world.request_id != first


def test_outputs_stand_as_decided_only_while_the_decision_is_carried_out() -> None:
    world = shown()
    first = world.request_id
    world.set(approve="true")
    action = world.step()
    world.set(outputs="Silent").step()
    assert world.request_id == first
    world.answer(action, Refused(message="no")).step()
    assert world.request_id != first
    assert world.status.request.outputs is Outputs.SILENT  # type: ignore[union-attr]


def test_a_diff_in_another_order_is_the_same_change() -> None:
    one = shown(diff=make_diff(added_views=["a", "b"]))
    two = shown(diff=make_diff(added_views=["b", "a"]))
    assert one.request_id == two.request_id
