"""How a status reads: the one word, and the conditions.

Nothing in here changes with time alone, so that a Pipeline at rest causes no writes.
"""

import re
from dataclasses import replace

from pipeline_approver.core.case import AWAITING_APPROVAL, RUNNING, UNAVAILABLE, Case, Problem
from pipeline_approver.core.change import clip
from pipeline_approver.core.conditions import (
    APPROVAL_REQUIRED,
    CHECKPOINT_DURABLE,
    CONNECTED,
    READY,
    RECONCILING,
    STALLED,
    Condition,
    build_condition,
    find_condition,
    merge_conditions,
)
from pipeline_approver.core.resource import GROUP
from pipeline_approver.core.status import (
    IN_FLIGHT,
    CheckpointStep,
    Decision,
    Outcome,
    PipelineFacts,
    Request,
    Status,
    Verdict,
)

STATE_LENGTH = 64


def present(case: Case, status: Status, *, hold: Problem | None) -> Status:
    """The status with its state and conditions; `hold` is why a waiting request is not decided."""
    state, ready, stalled = _describe_state(case, status)
    conditions = [
        build_condition(READY, *ready),
        _describe_connection(case),
        _describe_approval(case, status, hold),
        _describe_checkpoint(status),
        # What needs a person first is not on its way, and kstatus goes by the first of the two.
        None if stalled else _describe_progress(status),
        build_condition(STALLED, True, *stalled) if stalled else None,
    ]
    return replace(
        status,
        state=state,
        conditions=merge_conditions(
            status.conditions,
            [condition for condition in conditions if condition is not None],
            generation=case.resource.generation,
            now=case.now,
        ),
    )


def describe_pipeline(case: Case) -> PipelineFacts | None:
    """`status.pipeline`. While a decision is in flight the words between are left out: they would be writes."""
    view, before, decision = case.view, case.status.pipeline, case.status.decision
    if view is None:
        return before if case.observation.problem else None
    deployment_id = view.deployment_id or ""
    if before is not None and before.id == view.id and before.deployment_id == deployment_id:
        in_flight = decision is not None and decision.outcome in IN_FLIGHT and view.status not in RUNNING
        if view.status == UNAVAILABLE or in_flight:
            return before
    return PipelineFacts(
        id=clip(view.id, STATE_LENGTH),
        deployment_id=clip(deployment_id, STATE_LENGTH),
        status=clip(view.status, STATE_LENGTH),
        program_version=view.program_version,
        platform_version=clip(view.platform_version, STATE_LENGTH),
    )


def is_same_deployment(facts: PipelineFacts | None, before: PipelineFacts | None) -> bool:
    """Whether two descriptions speak of one deployment."""
    return (facts and (facts.id, facts.deployment_id)) == (before and (before.id, before.deployment_id))


Verdicts = tuple[bool | None, str, str]


def _describe_state(case: Case, status: Status) -> tuple[str, Verdicts, tuple[str, str] | None]:
    """The state, the arguments of `Ready`, and reason and message of `Stalled`."""
    problem, view, decision = case.observation.problem, case.view, status.decision
    name = clip(case.resource.pipeline_name, 100)
    if problem is not None:
        stalled = (problem.reason, problem.message) if problem.needs_person else None
        state = "Misconfigured" if problem.needs_person else "Unreachable"
        return state, (None, problem.reason, problem.message), stalled
    if case.duplicate_of:
        message = (
            f"{case.duplicate_of} is older and stands for the same Feldera pipeline {name};"
            " delete one of them or change its spec.pipelineName"
        )
        return "Duplicate", (False, "Duplicate", message), ("Duplicate", message)
    if view is None:
        message = f"Feldera has no pipeline {name}; create it there, or correct spec.pipelineName"
        return "NotFound", (False, "NotFound", message), None
    if decision is not None and decision.outcome in IN_FLIGHT:
        state = _name_progress(decision)
        return (
            state,
            (False, state, f"request {decision.request_id} was {decision.verdict.value.lower()}"),
            None,
        )
    if status.request is not None or view.status == AWAITING_APPROVAL:
        message = "the pipeline waits for approval and processes nothing"
        return AWAITING_APPROVAL, (False, AWAITING_APPROVAL, message), None
    if view.status in RUNNING:
        return view.status, (True, view.status, "the pipeline has come up, and nothing waits for approval"), None
    if view.deployment_error is not None:
        message = f"{view.deployment_error.code}: {view.deployment_error.message}"
        return "Failed", (False, "DeploymentFailed", message), ("DeploymentFailed", message)
    word = re.sub(r"[^A-Za-z0-9]", "", view.status).lstrip("0123456789")[:STATE_LENGTH] or "Unknown"
    ready = None if word in (UNAVAILABLE, "Unknown") else False
    return word, (ready, word, f"the pipeline is {word} in Feldera"), None


def _name_progress(decision: Decision) -> str:
    if decision.verdict is Verdict.REJECTED:
        return "Rejecting"
    return "Approving" if decision.outcome is Outcome.SENDING else "Bootstrapping"


def _describe_connection(case: Case) -> Condition:
    problem = case.observation.problem
    if problem is not None:
        return build_condition(CONNECTED, False, problem.reason, problem.message)
    return build_condition(CONNECTED, True, "Connected", "Feldera answers")


def _describe_approval(case: Case, status: Status, hold: Problem | None) -> Condition:
    request, decision, view = status.request, status.decision, case.view
    if case.observation.problem is not None:
        # Feldera is silent: what was asked before still stands.
        before = find_condition(status.conditions, APPROVAL_REQUIRED)
        if before is not None and (request is not None or before.status != str(True)):
            return before
        return build_condition(APPROVAL_REQUIRED, None, "NotKnown", "Feldera was not reached yet")
    notes = [entry.message for entry in status.ignored]
    if request is not None and decision is not None and decision.request_id == request.id:
        if decision.outcome is Outcome.SENDING:
            text = f"{decision.verdict.value} {request.id}"
            return _join(False, "Decided", [text, decision.message, hold.message if hold else "", *notes])
        notes.insert(0, decision.message)
    if request is not None:
        reason = hold.reason if hold else AWAITING_APPROVAL
        return _join(
            True,
            reason,
            [_describe_request(request), hold.message if hold else "", *notes, _command(case, request)],
        )
    if view is not None and view.status == AWAITING_APPROVAL and not case.duplicate_of:
        if decision is not None and decision.deployment_id == view.deployment_id:
            text = f"request {decision.request_id} was {decision.verdict.value.lower()}"
            return _join(False, "Decided", [text, *notes])
        problem = case.observation.program_problem or Problem(
            reason="ChangeNotShown",
            message="Feldera says that approval is needed, but does not show the change",
        )
        return _join(None, problem.reason, [problem.message, *notes])
    text = hold.message if hold else "nothing waits for approval"
    return _join(False, hold.reason if hold else "NothingWaits", [text, *notes])


def _describe_request(request: Request) -> str:
    return f"request {request.id} waits ({request.risk}: {request.summary}; outputs {request.outputs.value})"


def _command(case: Case, request: Request) -> str:
    resource = case.resource
    return (
        f"to approve exactly this: kubectl annotate pipelines.{GROUP} {resource.name} -n {resource.namespace}"
        f" --overwrite {GROUP}/approve={request.id}"
    )


def _join(status: bool | None, reason: str, texts: list[str]) -> Condition:
    return build_condition(APPROVAL_REQUIRED, status, reason, "; ".join(text for text in texts if text))


def _describe_checkpoint(status: Status) -> Condition | None:
    decision = status.decision
    number = status.checkpoint_sequence_number
    match decision.checkpoint if decision else None:
        case CheckpointStep.PENDING:
            verdict: Verdicts = (
                False,
                "CheckpointPending",
                "a restart before a checkpoint asks for approval again",
            )
        case CheckpointStep.REQUESTED:
            verdict = (False, "CheckpointRequested", f"checkpoint {number} is being written")
        case CheckpointStep.DURABLE:
            verdict = (True, "CheckpointComplete", f"checkpoint {number} is complete")
        case CheckpointStep.UNSUPPORTED:
            text = "this edition of Feldera has no checkpoints, so a restart asks for approval again"
            verdict = (False, "CheckpointsUnsupported", text)
        case CheckpointStep.FAILED:
            verdict = (False, "CheckpointFailed", decision.message if decision else "")
        case _:
            return None
    return build_condition(CHECKPOINT_DURABLE, *verdict)


def _describe_progress(status: Status) -> Condition | None:
    decision = status.decision
    if decision is None or decision.outcome not in IN_FLIGHT:
        return None
    text = f"request {decision.request_id} was {decision.verdict.value.lower()}, and its end is not known yet"
    return build_condition(RECONCILING, True, _name_progress(decision), decision.message or text)
