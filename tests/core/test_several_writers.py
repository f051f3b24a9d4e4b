"""Several processes write one status, with clocks of their own and knowledge of different age."""

import datetime
from dataclasses import replace

import pytest

from pipeline_approver.core.case import APPROVED, Act, Rules
from pipeline_approver.core.follow import LONGEST_PAUSE, measure_pause
from pipeline_approver.core.settle import Accepted, Ambiguous, NotApplied, Progress, Refused
from pipeline_approver.core.status import Outcome
from support.cases import BROKEN, NEXT_DEPLOYMENT, NOW, RUNNING, STOPPED, VIEW, World, decision_of

SECOND = datetime.timedelta(seconds=1)


def sending(**facts: object) -> World:
    """A world in which an approval is recorded, and not known to be sent."""
    world = World()
    world.step()
    world.set(approve=world.request_id, **facts)
    assert isinstance(world.step(), Act)
    return world


@pytest.mark.parametrize(
    "facts",
    [STOPPED, RUNNING, NEXT_DEPLOYMENT, {"view": None, "absent": True}, {"status": "Bootstrapping", "diff": None}],
)
def test_what_was_read_before_another_process_wrote_is_no_reason_to_write(facts: dict[str, object]) -> None:
    world = sending(checkpoint="Never")
    before = world.status
    world.set(**facts, is_news=False)
    assert world.step() is None
    assert world.status == before
    world.set(is_news=True).step()
    assert world.status != before


def test_an_old_view_decides_nothing_anew_that_another_process_has_carried_out() -> None:
    world = World()
    world.step()
    world.set(reject=world.request_id)
    world.answer(world.step(), Accepted()).set(**STOPPED).step()
    assert decision_of(world).outcome is Outcome.STOPPED
    world.set(view=VIEW, is_news=False)
    assert world.step() is None
    assert decision_of(world).outcome is Outcome.STOPPED


@pytest.mark.parametrize("ahead", [-3600, -30, 0, 30, 3600])
@pytest.mark.parametrize(("outcome", "pause"), [(Outcome.SENDING, 20), (Outcome.SENT, 60)])
def test_the_pause_of_another_process_is_kept_whatever_its_clock_says(ahead: int, outcome: Outcome, pause: int) -> None:
    world = sending()
    assert decision_of(world).unanswered
    unanswered = outcome is Outcome.SENDING
    decision = replace(
        decision_of(world), outcome=outcome, unanswered=unanswered, retry_at=NOW + (ahead + pause) * SECOND
    )
    measured = measure_pause(decision, now=NOW, rules=Rules(), own=False)
    assert pause * SECOND <= measured <= LONGEST_PAUSE


def test_a_call_that_certainly_had_no_effect_holds_up_no_other_process() -> None:
    world = sending()
    world.answer(act_of(world), NotApplied(message="not sent: the operator has lost its lease"))
    assert not decision_of(world).unanswered
    assert measure_pause(decision_of(world), now=NOW, rules=Rules(), own=False) == SECOND
    assert measure_pause(decision_of(world), now=NOW - 3600 * SECOND, rules=Rules(), own=False) == LONGEST_PAUSE


@pytest.mark.parametrize("answer", [Accepted(), Refused(message="no"), NotApplied(message="busy")])
def test_an_answer_is_the_end_of_a_call(answer: Accepted | Refused | NotApplied) -> None:
    world = sending()
    assert world.status.decision is not None
    world.answer(act_of(world), answer)
    assert not decision_of(world).unanswered


def test_a_call_whose_fate_is_unknown_stays_unanswered_until_feldera_shows_it() -> None:
    world = sending(checkpoint="Never")
    world.answer(act_of(world), Ambiguous(message="no answer in time"))
    assert decision_of(world).unanswered
    world.set(**RUNNING).step()
    assert not decision_of(world).unanswered


def test_the_pause_of_this_process_is_what_it_wrote() -> None:
    world = sending()
    decision = replace(decision_of(world), retry_at=NOW + SECOND)
    assert measure_pause(decision, now=NOW, rules=Rules(), own=True) == SECOND
    assert measure_pause(decision, now=NOW + 5 * SECOND, rules=Rules(), own=True) == 0 * SECOND
    assert measure_pause(replace(decision, retry_at=None), now=NOW, rules=Rules(), own=False) == 0 * SECOND


def test_a_pause_that_is_known_counts_in_place_of_the_time_in_the_status() -> None:
    world = sending()
    world.answer(act_of(world), Ambiguous(message="no answer"))
    world.later(3600).set(pause=5 * SECOND)
    assert world.step() is None
    assert world.recheck_at == world.case.now + 5 * SECOND
    world.later(-7200).set(pause=0 * SECOND)
    assert isinstance(world.step(), Act)


def test_an_answer_that_comes_after_the_next_deployment_does_not_mix_the_two() -> None:
    world = sending()
    action = act_of(world)
    world.set(**NEXT_DEPLOYMENT, status="Initializing", diff=None)
    world.answer(action, NotApplied(message="not sent: the pipeline was stopped or started again"))
    assert world.status.pipeline is not None
    assert world.status.pipeline.deployment_id == "deployment-1"
    world.step()
    assert world.status.request is None
    assert world.status.pipeline.deployment_id == "deployment-2"


def test_a_pipeline_is_not_ready_before_the_decision_about_it_has_come_to_its_end() -> None:
    world = sending()
    action = act_of(world)
    world.set(**RUNNING, **NEXT_DEPLOYMENT)
    world.answer(action, NotApplied(message="not sent: the pipeline was stopped or started again"))
    assert world.condition("Ready") == ("False", "Approving")
    assert world.condition("Reconciling") == ("True", "Approving")
    world.step()
    assert world.condition("Ready") == ("True", "Running")
    assert world.condition("Reconciling") is None


def test_outputs_that_change_under_way_make_no_new_request() -> None:
    world = sending()
    world.answer(act_of(world), Accepted())
    world.set(outputs="Silent").step()
    assert world.status.request is None
    assert world.status.ignored == ()
    world.set(view=replace(VIEW, **NEXT_DEPLOYMENT)).step()  # type: ignore[arg-type]
    assert world.step() is None
    assert world.status.request is not None
    assert world.status.request.outputs == "Silent"


def test_initializing_does_not_say_that_somebody_approved() -> None:
    """A process that was started again says so as well, and then asks once more."""
    world = sending(status="AwaitingApproval")
    world.set(status="Initializing", diff=None).step()
    assert decision_of(world).outcome is Outcome.SENDING
    for word in APPROVED:
        world = sending()
        world.set(status=word, diff=None).step()
        assert decision_of(world).outcome is Outcome.SENT


def test_initializing_does_not_end_a_rejection() -> None:
    world = World()
    world.step()
    world.set(reject=world.request_id)
    world.answer(world.step(), NotApplied(message="busy"))
    world.set(status="Initializing", diff=None).step()
    assert decision_of(world).outcome is Outcome.SENDING


def test_the_error_of_a_stopped_pipeline_is_not_blamed_on_an_approval_that_was_not_sent() -> None:
    world = sending()
    world.answer(act_of(world), NotApplied(message="busy"))
    world.set(**STOPPED, deployment_error=BROKEN).step()
    assert decision_of(world).outcome is Outcome.SUPERSEDED
    assert "InitializationError: cannot open sink" in decision_of(world).message


def test_a_checkpoint_that_is_not_there_yet_changes_nothing() -> None:
    world = World(**RUNNING, approve="true@next")
    world.step()
    world.set(view=VIEW)
    world.answer(world.step(), Accepted())
    world.set(**RUNNING, approve="true@after-next")
    world.answer(world.step(), Accepted(number=4))
    world.step()
    before = world.status
    assert world.condition("ApprovalRequired") == ("False", "Armed")
    action = world.later(2).step()
    world.answer(action, Progress(success=3))
    assert world.status == before


def act_of(world: World) -> Act:
    """The call that the recorded attempt announced."""
    decision = decision_of(world)
    return Act(
        verdict=decision.verdict,
        request_id=decision.request_id,
        digest=decision.digest,
        pipeline_id=VIEW.id,
        deployment_id=decision.deployment_id,
        outputs=decision.outputs,
        attempt=decision.attempts,
    )
