"""The request that a pipeline's state amounts to, and the check directly before a call."""

from pipeline_approver.core.case import AWAITING_APPROVAL, PROVISIONED, RUNNING, UNAVAILABLE, Act, Case
from pipeline_approver.core.change import (
    Outputs,
    build_request_id,
    digest_change,
    parse_change,
    render_change,
    summarise,
)
from pipeline_approver.core.observation import PipelineView, Program
from pipeline_approver.core.risk import assess_risk
from pipeline_approver.core.status import IN_FLIGHT, Request, Verdict
from pipeline_approver.core.times import round_down


def choose_outputs(case: Case, view: PipelineView) -> Outputs:
    """`spec.outputs`, else as the pipeline was started; a decision that is being carried out stands as it was made."""
    decision = case.status.decision
    if decision is not None and decision.outcome in IN_FLIGHT and decision.deployment_id == view.deployment_id:
        return decision.outputs
    return case.resource.outputs or (Outputs.SILENT if view.silent_bootstrap else Outputs.EMIT)


def find_request(case: Case) -> Request | None:
    """The request that waits: built from what Feldera shows, or the recorded one while Feldera shows too little.

    Unavailable hides the change for a moment but does not withdraw the request, and neither does a program
    that could not be read again.
    """
    view, recorded = case.view, case.status.request
    if view is None or view.deployment_id is None:
        return None
    facts = case.status.pipeline
    same = facts is not None and facts.deployment_id == view.deployment_id and facts.id == view.id
    if view.status == UNAVAILABLE:
        return recorded if same else None
    if view.status != AWAITING_APPROVAL:
        return None
    if view.diff is None or case.observation.program is None:
        return recorded if same else None
    return _build_request(case, view, view.diff, case.observation.program)


def _build_request(case: Case, view: PipelineView, diff: str, program: Program) -> Request:
    recorded = case.status.request
    outputs = choose_outputs(case, view)
    digest = digest_change(diff=diff, program=program, outputs=outputs)
    id_ = build_request_id(
        uid=case.resource.uid, pipeline_id=view.id, deployment_id=view.deployment_id or "", digest=digest
    )
    if recorded is not None and (recorded.id, recorded.digest) == (id_, digest):
        return recorded
    change = parse_change(diff)
    risk, reasons = assess_risk(change, program=program, outputs=outputs)
    return Request(
        id=id_,
        digest=digest,
        since=round_down(case.now),
        risk=risk.word,
        reasons=reasons,
        summary=summarise(change),
        outputs=outputs,
        change=render_change(change),
    )


def verify(act: Act, view: PipelineView | None, program: Program | None) -> str:
    """Why the call must not be made now, or empty when it may.

    `view` is read directly before the call: Feldera's `/approve` checks nothing itself and takes no precondition.
    `program` is the one that belongs to `act.deployment_id`; a program cannot change while it is deployed.
    """
    if view is None:
        return "the pipeline no longer exists"
    if view.id != act.pipeline_id:
        return "another pipeline has taken the name"
    if view.deployment_id != act.deployment_id:
        return "the pipeline was stopped or started again"
    if view.status != AWAITING_APPROVAL:
        return f"the pipeline is {view.status or 'in no known state'}"
    if view.resources_desired_status != PROVISIONED:
        return "the pipeline is being stopped"
    if act.verdict is Verdict.APPROVED and view.desired_status not in RUNNING:
        return f"the pipeline is wanted {view.desired_status or 'in no known state'}, not Running or Paused"
    if view.diff is None or program is None:
        return "Feldera does not show the change"
    if digest_change(diff=view.diff, program=program, outputs=act.outputs) != act.digest:
        return "the change is another one"
    return ""
