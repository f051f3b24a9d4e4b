"""Who may decide what: the rules, one row or more for each, and their precedence."""

import dataclasses
import itertools
from typing import Any

import pytest

from pipeline_approver.core.case import Act, Problem
from pipeline_approver.core.decision import RULES
from pipeline_approver.core.status import Verdict
from support.cases import (
    NEXT_DEPLOYMENT,
    NOW,
    RUNNING,
    STOPPED,
    VIEW,
    World,
    shown,
    token_for,
)

HELD = [
    ("approve and reject at once", {"reject": "true"}, "Conflict"),
    ("suspended", {"suspend": True}, "Suspended"),
    ("wanted stopped", {"desired_status": "Stopped", "resources_desired_status": "Stopped"}, "NotWantedRunning"),
    ("wanted suspended", {"desired_status": "Suspended"}, "NotWantedRunning"),
    ("no desired state known", {"desired_status": ""}, "NotWantedRunning"),
    ("being stopped", {"resources_desired_status": "Stopped"}, "NotWantedRunning"),
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


@pytest.mark.parametrize(
    ("version", "acts"),
    [("0.299.9", False), ("v0.299.9", False), ("0.300.0", True), ("v0.300.0", True), ("1.0", True), ("", True)],
)
def test_a_silent_bootstrap_is_approved_where_the_platform_knows_it(version: str, acts: bool) -> None:
    """A version that is none says nothing against it."""
    world = shown(outputs="Silent", platform_version=version)
    assert isinstance(world.set(approve="true").step(), Act) is acts
    assert isinstance(World(outputs="Emit", platform_version=version, approve="true").step(), Act)


def test_a_pipeline_that_is_being_stopped_is_not_stopped_again_by_a_rejection() -> None:
    world = shown()
    assert world.set(reject="true", resources_desired_status="Stopped").step() is None
    assert world.condition("ApprovalRequired") == ("True", "BeingStopped")
    assert isinstance(world.set(resources_desired_status="Provisioned").step(), Act)


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


@pytest.mark.parametrize("facts", [{"view": None}, {"deleting": True}], ids=["not known yet", "being deleted"])
def test_nothing_is_said_of_what_is_not_known_or_not_spoken_for(facts: dict[str, Any]) -> None:
    world = shown()
    before = world.status
    assert world.set(approve="nonsense", **facts).step() is None
    assert world.status == before


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
