"""Who may decide what: the rules, one row or more for each, and their precedence."""

import dataclasses
import itertools
from typing import Any

import pytest

from pipeline_approver.core.case import Act, OneShot, Problem, ReadProgram, Rules
from pipeline_approver.core.decision import RULES
from pipeline_approver.core.settle import Accepted
from pipeline_approver.core.status import Outcome, Verdict
from support.cases import (
    NEXT_DEPLOYMENT,
    NOW,
    RUNNING,
    STOPPED,
    VIEW,
    World,
    approved,
    make_diff,
    shown,
    token_for,
)


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


@pytest.mark.parametrize("kind", ["true", "true@release-42", "id", "digest"])
@pytest.mark.parametrize(("annotation", "verdict"), [("approve", Verdict.APPROVED), ("reject", Verdict.REJECTED)])
def test_every_form_of_token_decides_the_request_that_waits(kind: str, annotation: str, verdict: Verdict) -> None:
    world = shown()
    request = world.status.request
    token = token_for(world, kind)
    action = world.set(**{annotation: token}).step()
    assert isinstance(action, Act)
    assert request is not None
    assert (action.verdict, action.digest, action.deployment_id) == (verdict, request.digest, "deployment-1")
    decision = world.status.decision
    assert decision is not None
    assert (decision.outcome, decision.request_id, decision.by.manager) == (
        Outcome.SENDING,
        request.id,
        "kubectl-annotate",
    )
    assert getattr(world.status.handled, annotation) == token


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("3f9a1c07be4", "Malformed"),
        ("TRUE", "Malformed"),
        ("3F9A1C07BE42", "Malformed"),
        ("true@", "Malformed"),
        (" true", "Malformed"),
        ("yes", "Malformed"),
        ("👍", "Malformed"),
        ("true@" + "x" * 300_000, "Malformed"),
        ("sha256:" + "0" * 63, "Malformed"),
        ("sha256:" + "0" * 64, "OtherChange"),
        ("0123456789ab", "StaleRequest"),
    ],
)
def test_anything_else_decides_nothing_and_is_reported(value: str, reason: str) -> None:
    world = shown()
    assert world.set(approve=value).step() is None
    assert [entry.reason for entry in world.status.ignored] == [reason]
    assert "is ignored" in world.message("ApprovalRequired")
    assert world.status.decision is None


@pytest.mark.parametrize("value", [None, "", "false"])
def test_nothing_is_nothing(value: str | None) -> None:
    world = shown(approve=value, reject=value)
    assert world.status.ignored == ()


def test_a_prefix_of_the_waiting_id_is_refused() -> None:
    world = shown()
    assert world.set(approve=world.request_id[:11]).step() is None
    assert "a part of one is not accepted" in world.message("ApprovalRequired")


def test_a_one_shot_is_used_up_by_one_request_and_a_new_word_decides_the_next() -> None:
    world = shown()
    world.set(approve="true@1")
    world.answer(world.step(), Accepted())
    world.set(**RUNNING, checkpoint="Never").step()
    world.set(view=dataclasses.replace(VIEW, **NEXT_DEPLOYMENT))
    assert world.step() is None
    assert [entry.reason for entry in world.status.ignored] == ["UsedUp"]
    assert isinstance(world.set(approve="true@2").step(), Act)


@pytest.mark.parametrize("between", ["id", "digest", "true@2", "nonsense"])
@pytest.mark.parametrize("used", ["true", "true@1"])
def test_a_one_shot_that_comes_back_after_another_value_decides_nothing(used: str, between: str) -> None:
    """A GitOps tool restores what somebody had overwritten, or a commit is reverted: nobody has decided anything."""
    world = shown(checkpoint="Never")
    world.set(approve=used)
    world.answer(world.step(), Accepted())
    world.set(**RUNNING).step()
    world.set(view=dataclasses.replace(VIEW, **NEXT_DEPLOYMENT)).step()
    world.set(approve=token_for(world, between))
    action = world.step()
    if action is not None:
        world.answer(action, Accepted())
        world.set(**RUNNING).step()
    world.set(view=dataclasses.replace(VIEW, deployment_id="deployment-3"), approve=used)
    assert world.step() is None
    assert [entry.reason for entry in world.status.ignored] == ["UsedUp"]
    world.set(approve=None).step()
    assert isinstance(world.set(approve=used).step(), Act)


def test_the_values_that_were_used_up_are_bounded() -> None:
    world = World(checkpoint="Never")
    for number in range(14):
        world.set(view=dataclasses.replace(VIEW, deployment_id=f"d{number}"), approve=f"true@{number}")
        world.answer(world.step(), Accepted())
        world.set(**RUNNING).step()
    assert world.status.handled.approve == "true@13"
    assert world.status.handled.approve_before == tuple(f"true@{number}" for number in range(12, 2, -1))


@pytest.mark.parametrize("annotation", ["approve", "reject"])
def test_a_one_shot_can_be_taken_away_and_set_again(annotation: str) -> None:
    world = shown()
    for value in ("true@1", "true@2"):
        world.set(**{annotation: value})
        world.answer(world.step(), Accepted())
        world.set(view=dataclasses.replace(VIEW, deployment_id=f"after {value}")).step()
        assert world.step() is None
    assert world.status.handled.find(annotation) == ("true@2", ("true@1",))
    world.set(**{annotation: None}).step()
    assert world.status.handled.find(annotation) == ("", ())
    assert isinstance(world.set(**{annotation: "true@1"}).step(), Act)


@pytest.mark.parametrize("annotation", ["approve", "reject"])
def test_a_one_shot_that_was_away_for_a_moment_counts_as_set_again(annotation: str) -> None:
    world = shown()
    world.set(**{annotation: "true"})
    world.answer(world.step(), Accepted())
    world.set(view=dataclasses.replace(VIEW, **NEXT_DEPLOYMENT))
    world.step()
    assert world.step() is None
    other = {"approve": "reject", "reject": "approve"}[annotation]
    assert world.set(released=frozenset({other})).step() is None
    assert isinstance(world.set(released=frozenset({annotation})).step(), Act)


def test_a_one_shot_set_before_anything_waits_approves_the_next_request_and_says_so() -> None:
    world = World(**RUNNING, approve="true")
    assert world.step() is None
    assert world.condition("ApprovalRequired") == ("False", "Armed")
    assert isinstance(world.set(view=VIEW).step(), Act)


def test_a_digest_approves_its_change_in_every_deployment() -> None:
    world = approved()
    digest = world.status.decision.digest  # type: ignore[union-attr]
    world.set(approve=digest, **RUNNING, checkpoint="Never").step()
    world.set(view=dataclasses.replace(VIEW, **NEXT_DEPLOYMENT))
    action = world.step()
    assert isinstance(action, Act)
    assert action.deployment_id == "deployment-2"


def test_an_id_approves_neither_an_earlier_nor_a_later_request() -> None:
    world = shown()
    first = world.request_id
    world.set(view=dataclasses.replace(VIEW, **NEXT_DEPLOYMENT), approve=first)
    assert world.step() is None
    assert world.status.ignored[0].reason == "StaleRequest"


@pytest.mark.parametrize(("setting", "acts"), [(OneShot.ANY, True), (OneShot.WAITING, True), (OneShot.NEVER, False)])
def test_the_operator_can_refuse_one_shots(setting: OneShot, acts: bool) -> None:
    world = shown(rules=Rules(one_shot=setting))
    assert isinstance(world.set(approve="true").step(), Act) is acts


def test_the_operator_can_refuse_one_shots_that_were_set_before_the_request() -> None:
    world = World(**RUNNING, approve="true", rules=Rules(one_shot=OneShot.WAITING))
    world.step()
    assert world.status.ignored[0].reason == "SetTooEarly"
    assert world.status.handled.approve == "true"
    world.set(view=VIEW)
    assert world.step() is None
    assert world.step() is None
    assert isinstance(world.set(approve="true@now").step(), Act)


def test_a_one_shot_seen_together_with_its_request_is_refused_in_that_setting() -> None:
    world = World(approve="true", rules=Rules(one_shot=OneShot.WAITING))
    assert world.step() is None
    assert world.step() is None


HELD = [
    ("approve and reject at once", {"reject": "true"}, "Conflict"),
    ("suspended", {"suspend": True}, "Suspended"),
    ("wanted stopped", {"desired_status": "Stopped", "resources_desired_status": "Stopped"}, "NotWantedRunning"),
    ("wanted suspended", {"desired_status": "Suspended"}, "NotWantedRunning"),
    ("no desired state known", {"desired_status": ""}, "NotWantedRunning"),
    ("silent and concurrent", {"outputs": "Silent", "concurrent_bootstrap": True}, "SilentNotPossible"),
    ("silent on an old platform", {"outputs": "Silent", "platform_version": "0.299.0"}, "SilentNotPossible"),
]


@pytest.mark.parametrize(("facts", "reason"), [row[1:] for row in HELD], ids=[row[0] for row in HELD])
def test_an_approval_is_held_back_with_a_reason(facts: dict[str, Any], reason: str) -> None:
    world = World(suspend=True)
    world.step()
    assert world.set(**{"suspend": False, "approve": "true", **facts}).step() is None
    assert world.condition("ApprovalRequired") == ("True", reason)
    assert world.status.decision is None
    assert world.status.handled.approve == ""


UNKNOWN = [
    ("nothing observed", {"view": None}),
    ("connection broken", {"problem": Problem(reason="ConnectionRefused", message="no")}),
    ("the older twin rules", {"duplicate_of": "shop/older"}),
    ("the change is not shown", {"diff": None}),
    ("the program is unreadable", {"program": None, "program_problem": Problem(reason="X", message="no")}),
    ("being deleted", {"deleting": True}),
    ("unavailable", {"status": "Unavailable", "diff": None}),
    ("initializing", {"status": "Initializing", "diff": None}),
    ("an unknown word", {"status": "Teleporting"}),
    ("stopped", STOPPED),
    ("not there", {"view": None, "absent": True}),
]


@pytest.mark.parametrize("facts", [row[1] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN])
@pytest.mark.parametrize("token", ["true", "id", "digest"])
def test_what_is_not_known_is_never_approved(facts: dict[str, Any], token: str) -> None:
    world = shown()
    world.set(approve=token_for(world, token), **facts)
    assert world.step() is None
    assert world.status.decision is None


def test_the_program_is_read_before_the_request_is_built() -> None:
    world = World(program=None)
    assert world.step() == ReadProgram(deployment_id="deployment-1")
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


def test_a_pipeline_at_rest_changes_nothing() -> None:
    for facts in ({}, RUNNING, STOPPED, {"approve": "nonsense"}, {"view": None, "absent": True}, {"suspend": True}):
        world = World(**facts)
        world.step()
        before = world.status
        world.later(3600).step()
        assert world.status == before


def test_no_combination_of_facts_approves_unseen_or_undecided() -> None:
    """Whatever the facts, an approval needs a token of this very request, and a pipeline that waits and may run."""
    first = shown()
    request_id = first.request_id
    tokens = [None, "false", "true", request_id, "0123456789ab", request_id[:8], "sha256:" + "1" * 64]
    statuses = ["AwaitingApproval", "Unavailable", "Running", "Initializing", "Stopped", "Standby", "", "New"]
    desired = ["Running", "Paused", "Stopped", "Suspended", "Standby", ""]
    for token, status, wanted, suspend, reject in itertools.product(
        tokens, statuses, desired, [False, True], [None, "true"]
    ):
        world = World(approve=token, status=status, desired_status=wanted, suspend=suspend, reject=reject)
        world.record(first.status)
        action = world.step()
        if isinstance(action, Act) and action.verdict is Verdict.APPROVED:
            assert token in ("true", request_id)
            assert (status, suspend, reject) == ("AwaitingApproval", False, None)
            assert wanted in ("Running", "Paused")


def test_removing_an_annotation_never_adds_an_approval() -> None:
    for changed, reject in itertools.product([VIEW, dataclasses.replace(VIEW, **NEXT_DEPLOYMENT)], [None, "true"]):
        world = shown()
        assert not isinstance(world.set(view=changed, approve=None, reject=reject).step(), Act) or reject == "true"


def test_every_rule_has_one_place_in_the_order() -> None:
    assert len(set(RULES)) == len(RULES)
    assert NOW.tzinfo is not None


def test_a_diff_in_another_order_is_the_same_change() -> None:
    one = shown(diff=make_diff(added_views=["a", "b"]))
    two = shown(diff=make_diff(added_views=["b", "a"]))
    assert one.request_id == two.request_id


@pytest.mark.parametrize(
    ("word", "state"), [("3rdState", "rdState"), ("12", "Unknown"), ("", "Unknown"), ("Half Way!", "HalfWay")]
)
def test_any_word_of_felderas_becomes_a_state_that_a_condition_may_have_as_its_reason(word: str, state: str) -> None:
    world = World(**{**RUNNING, "status": word})
    world.step()
    assert (world.status.state, world.condition("Ready")) == (
        state,
        ("Unknown" if state == "Unknown" else "False", state),
    )
