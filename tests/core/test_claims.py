"""What annotations decide: each form of a value, used up or fresh, and what is said of one that decides nothing."""

import dataclasses
from typing import Any

import pytest

from pipeline_approver.core.case import Act, OneShot, Rules
from pipeline_approver.core.settle import Accepted, Refused
from pipeline_approver.core.status import Outcome, Verdict
from support.cases import NEXT_DEPLOYMENT, RUNNING, VIEW, World, approved, shown, token_for


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


@pytest.mark.parametrize(
    ("facts", "said"),
    [(NEXT_DEPLOYMENT, "SetTooEarly"), (RUNNING, "SetTooEarly"), ({}, None)],
    ids=["another request", "no request any more", "the request that was shown"],
)
def test_in_that_setting_a_one_shot_decides_the_request_that_was_shown_and_no_other(
    facts: dict[str, Any], said: str | None
) -> None:
    world = shown(rules=Rules(one_shot=OneShot.WAITING))
    assert isinstance(world.set(approve="true", **facts).step(), Act) is (said is None)
    assert [ignored.reason for ignored in world.status.ignored] == ([said] if said else [])
    assert world.status.handled.approve == "true"


def test_a_value_that_was_used_up_is_reported_only_while_something_waits() -> None:
    world = shown()
    world.set(approve="true")
    world.answer(world.step(), Accepted()).set(**NEXT_DEPLOYMENT).step()
    world.step()
    assert [ignored.reason for ignored in world.status.ignored] == ["UsedUp"]
    world.set(**RUNNING).step()
    assert world.status.ignored == ()


def test_an_id_that_nothing_waits_for_is_reported_unless_it_was_decided() -> None:
    world = World(**RUNNING, approve="0123456789ab")
    world.step()
    assert [ignored.reason for ignored in world.status.ignored] == ["UnknownRequest"]
    world = approved(checkpoint="Never").set(**RUNNING)
    world.step()
    assert world.status.ignored == ()


def test_a_one_shot_that_feldera_refused_is_reported_as_used_up() -> None:
    world = shown()
    world.set(approve="true")
    world.answer(world.step(), Refused(message="no"))
    assert world.step() is None
    assert [ignored.reason for ignored in world.status.ignored] == ["UsedUp"]


def test_a_digest_that_was_refused_for_one_deployment_decides_the_next() -> None:
    world = shown()
    world.set(approve=token_for(world, "digest"))
    world.answer(world.step(), Refused(message="no"))
    assert world.step() is None
    assert isinstance(world.set(**NEXT_DEPLOYMENT).step(), Act)
