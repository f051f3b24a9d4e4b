"""The only place where approving is decided: a pure function from a case to a plan.

`RULES` is the order of precedence, and the first rule with an answer ends the search: what we cannot know, what was
decided before, nothing to ask, what forbids deciding, no, yes by a person, yes by a policy, wait. A plan is carried
out by writing its status with the resource version that it was made from; so of two operators only one acts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline_approver.core import claims, follow, present, requests
from pipeline_approver.core.case import (
    AWAITING_APPROVAL,
    PROVISIONED,
    RUNNING,
    Act,
    Case,
    Plan,
    Problem,
    ReadProgram,
)
from pipeline_approver.core.change import Outputs
from pipeline_approver.core.resource import APPROVE, REJECT
from pipeline_approver.core.status import Decision, Handled, Outcome, Request, Status, Verdict
from pipeline_approver.core.times import round_down, round_up

SILENT_SINCE = (0, 300)
"""The first platform version that knows silent bootstraps; older ones drop the flag without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """A case with what every rule looks at."""

    case: Case
    request: Request | None
    handled: Handled
    approve: claims.Claim
    reject: claims.Claim

    @property
    def decision(self) -> Decision | None:
        """The recorded decision."""
        return self.case.status.decision


Step = follow.Step
Rule = Callable[[Inquiry], Step | None]


def decide(case: Case) -> Plan:
    """The next status and at most one action."""
    request = requests.find_request(case)
    handled = claims.release_tokens(case)
    approve, reject = claims.judge_claims(case, request=request, handled=handled)
    for claim in (approve, reject):
        handled = handled.use(claim.annotation, claim.token.text) if claim.spent else handled
    inquiry = Inquiry(case=case, request=request, handled=handled, approve=approve, reject=reject)
    step = next(answer for rule in RULES if (answer := rule(inquiry)) is not None)
    if step.unchanged:
        return Plan(status=case.status, action=step.action, recheck_at=step.recheck_at)
    return Plan(status=_next_status(inquiry, step), action=step.action, recheck_at=step.recheck_at)


# What we cannot know.


def leave_deleted(inquiry: Inquiry) -> Step | None:
    """A Pipeline that is being deleted is no longer spoken for."""
    return Step(unchanged=True) if inquiry.case.resource.deleting else None


def wait_for_first_word(inquiry: Inquiry) -> Step | None:
    """Not known yet is neither yes nor no."""
    case = inquiry.case
    return Step(unchanged=True) if not case.known and case.observation.problem is None else None


def wait_for_news(inquiry: Inquiry) -> Step | None:
    """Another process has written the status since Feldera was asked, or this one stood still: what is known is old."""
    return None if inquiry.case.is_news else Step(unchanged=True)


def wait_for_connection(inquiry: Inquiry) -> Step | None:
    """Nothing is decided from what Feldera said before it fell silent."""
    return Step(keep_request=True) if inquiry.case.observation.problem else None


def refuse_duplicate(inquiry: Inquiry) -> Step | None:
    """Of two Pipelines for one Feldera pipeline the older one rules."""
    return Step() if inquiry.case.duplicate_of else None


def read_program(inquiry: Inquiry) -> Step | None:
    """The change is not known before the program was read; in flight, it was read when it was decided."""
    view, observation = inquiry.case.view, inquiry.case.observation
    if view is None or view.status != AWAITING_APPROVAL or view.diff is None or view.deployment_id is None:
        return None
    if observation.program is not None or observation.program_problem is not None:
        return None
    return Step(unchanged=True, action=ReadProgram(deployment_id=view.deployment_id))


# Decided before.


def follow_decision(inquiry: Inquiry) -> Step | None:
    """A decision is carried to its end before the next one is made."""
    step = follow.follow_decision(inquiry.case)
    if step is not None and step.attempt is not None:
        return _attempt(inquiry, step.attempt)
    return step


# Nothing to ask.


def wait_without_request(inquiry: Inquiry) -> Step | None:
    """Nothing waits."""
    return Step() if inquiry.request is None else None


# What forbids deciding.


def wait_until_shown(inquiry: Inquiry) -> Step | None:
    """The recorded request stands, but Feldera does not show enough of it right now to act on."""
    view = inquiry.case.view
    if view is None or view.status != AWAITING_APPROVAL or view.diff is None:
        return Step()
    problem = inquiry.case.observation.program_problem
    return Step(hold=problem) if problem else None


def wait_while_suspended(inquiry: Inquiry) -> Step | None:
    """`spec.suspend`: observe and report, decide nothing."""
    if not inquiry.case.resource.suspend:
        return None
    return Step(hold=Problem(reason="Suspended", message="spec.suspend is true, so nothing is decided"))


def refuse_conflict(inquiry: Inquiry) -> Step | None:
    """Approve and reject at once decide nothing."""
    if not (inquiry.approve.decides and inquiry.reject.decides):
        return None
    return Step(hold=Problem(reason="Conflict", message="approve and reject are both set; remove one of them"))


# No.


def honour_reject(inquiry: Inquiry) -> Step | None:
    """A person says no."""
    if not inquiry.reject.decides:
        return None
    view = inquiry.case.view
    if view is not None and view.resources_desired_status != PROVISIONED:
        return Step(hold=Problem(reason="BeingStopped", message="the pipeline is being stopped already"))
    return _decide(inquiry, Verdict.REJECTED, inquiry.reject)


def wait_while_leaving(inquiry: Inquiry) -> Step | None:
    """A pipeline that is wanted stopped or suspended would bootstrap and then stop: not what anybody approved."""
    view = inquiry.case.view
    if view is None or (view.desired_status in RUNNING and view.resources_desired_status == PROVISIONED):
        return None
    return Step(
        hold=Problem(
            reason="NotWantedRunning",
            message=f"the pipeline is wanted {view.desired_status or 'in no known state'} in Feldera,"
            " not Running or Paused, so it is not approved",
        )
    )


def refuse_impossible_outputs(inquiry: Inquiry) -> Step | None:
    """Feldera drops the silent flag without a word where it cannot honour it; then the outputs would be emitted."""
    view, request = inquiry.case.view, inquiry.request
    if view is None or request is None or request.outputs is not Outputs.SILENT:
        return None
    if view.concurrent_bootstrap:
        why = "a concurrent bootstrap is never silent; set spec.outputs to Emit, or start the pipeline otherwise"
    elif _parse_version(view.platform_version) < SILENT_SINCE:
        why = f"platform {view.platform_version} knows no silent bootstrap; set spec.outputs to Emit, or upgrade it"
    else:
        return None
    return Step(hold=Problem(reason="SilentNotPossible", message=why))


# Yes by a person.


def replay_decision(inquiry: Inquiry) -> Step | None:
    """A restarted process that asks again under the same request gets the recorded decision again."""
    decision, request = inquiry.decision, inquiry.request
    if decision is None or request is None or decision.outcome is Outcome.FAILED:
        return None
    if (decision.request_id, decision.digest) != (request.id, request.digest):
        return None
    return _attempt(inquiry, decision)


def honour_approve(inquiry: Inquiry) -> Step | None:
    """A person says yes."""
    return _decide(inquiry, Verdict.APPROVED, inquiry.approve) if inquiry.approve.decides else None


# Yes by a policy: `spec.autoApprove` and cluster-wide policies get their rule here. This version has none.


def wait(inquiry: Inquiry) -> Step | None:
    """Nobody decided."""
    return Step()


RULES: tuple[Rule, ...] = (
    leave_deleted,
    wait_for_first_word,
    wait_for_news,
    wait_for_connection,
    refuse_duplicate,
    read_program,
    follow_decision,
    wait_without_request,
    wait_until_shown,
    wait_while_suspended,
    refuse_conflict,
    honour_reject,
    wait_while_leaving,
    refuse_impossible_outputs,
    replay_decision,
    honour_approve,
    wait,
)


def _decide(inquiry: Inquiry, verdict: Verdict, claim: claims.Claim) -> Step:
    request, view = inquiry.request, inquiry.case.view
    assert request is not None
    assert view is not None
    decision = Decision(
        request_id=request.id,
        deployment_id=view.deployment_id or "",
        digest=request.digest,
        verdict=verdict,
        by=inquiry.case.resource.who(claim.annotation),
        reason=inquiry.case.resource.reason,
        at=round_down(inquiry.case.now),
        outputs=request.outputs,
        outcome=Outcome.SENDING,
    )
    return replace(_attempt(inquiry, decision), handled=inquiry.handled.use(claim.annotation, claim.token.text))


def _attempt(inquiry: Inquiry, decision: Decision) -> Step:
    """Record that a call is about to be made, and make it."""
    view = inquiry.case.view
    assert view is not None
    attempt = decision.attempts + 1
    recorded = replace(
        decision,
        outcome=Outcome.SENDING,
        attempts=attempt,
        unanswered=True,
        retry_at=round_up(inquiry.case.now + inquiry.case.rules.settle),
        message="" if attempt == 1 else decision.message,
    )
    act = Act(
        verdict=decision.verdict,
        request_id=decision.request_id,
        digest=decision.digest,
        pipeline_id=view.id,
        deployment_id=decision.deployment_id,
        outputs=decision.outputs,
        attempt=attempt,
    )
    return Step(decision=recorded, action=act)


def _next_status(inquiry: Inquiry, step: Step) -> Status:
    case, before = inquiry.case, inquiry.case.status
    facts = present.describe_pipeline(case)
    # A request belongs to the deployment that the status speaks of, and is not carried over to the next one.
    kept = before.request if step.keep_request and present.is_same_deployment(facts, before.pipeline) else None
    request = inquiry.request or kept
    if case.duplicate_of:
        request = None
    decision = step.decision or before.decision
    if decision is not None and request is not None and decision.request_id == request.id:
        # Answered: Feldera may show it for a while yet, but nobody has to decide it any more.
        request = None if decision.outcome is Outcome.SENT else request
    status = replace(
        before,
        observed_generation=case.resource.generation,
        pipeline=facts,
        request=request,
        handled=step.handled or inquiry.handled,
        ignored=tuple(c.ignored for c in (inquiry.approve, inquiry.reject) if c.ignored is not None),
    )
    status = follow.record_decision(status, decision)
    hold = step.hold or _explain_armed(inquiry)
    return present.present(case, status, hold=hold)


def _explain_armed(inquiry: Inquiry) -> Problem | None:
    armed = [claim.annotation for claim in (inquiry.approve, inquiry.reject) if claim.armed]
    if not armed:
        return None
    words = {APPROVE: "approved", REJECT: "rejected"}
    return Problem(
        reason="Armed",
        message=" and ".join(f"{name} is set: the next request will be {words[name]}" for name in armed),
    )


def _parse_version(text: str) -> tuple[int, ...]:
    parts = text.removeprefix("v").split(".")[:2]
    # A version that is not one says nothing against it.
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else SILENT_SINCE
