"""Builders for the pure core: one base case, and replacements."""

import datetime
import json
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from pipeline_approver.core.case import Act, Case, Observation
from pipeline_approver.core.change import Outputs
from pipeline_approver.core.decision import decide
from pipeline_approver.core.observation import DeploymentError, PipelineView, Program
from pipeline_approver.core.resource import CheckpointMode, Resource
from pipeline_approver.core.settle import Accepted, Answer, settle
from pipeline_approver.core.status import Decision, Status
from pipeline_approver.core.tokens import parse_token

NOW = datetime.datetime(2026, 11, 23, 12, 0, 0, tzinfo=datetime.UTC)
PROGRAM = Program(program_code="a" * 64, udf_rust="", udf_toml="")
LISTS = ("tables", "views", "input_connectors", "output_connectors")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=10,
)
"""Any JSON, small."""


def make_diff(**names: list[str]) -> str:
    """A diff as Feldera gives it, with all keys; for example `make_diff(added_views=["v"])`."""
    verbs = ("added", "removed", "modified")
    program = {f"{verb}_{noun}": names.get(f"{verb}_{noun}", []) for noun in LISTS[:2] for verb in verbs}
    connectors = {f"{verb}_{noun}": names.get(f"{verb}_{noun}", []) for noun in LISTS[2:] for verb in verbs}
    return json.dumps({"program_diff": program, "program_diff_error": None, **connectors}, sort_keys=True)


VIEW = PipelineView(
    id="pipeline-1",
    name="orders",
    status="AwaitingApproval",
    desired_status="Running",
    resources_desired_status="Provisioned",
    deployment_id="deployment-1",
    program_version=7,
    platform_version="0.337.0",
    diff=make_diff(added_views=["daily"]),
)
RESOURCE = Resource(
    uid="uid-1",
    namespace="shop",
    name="orders",
    resource_version="1",
    generation=3,
    created_at=NOW,
    pipeline_name="orders",
    managers=(("approve", "kubectl-annotate"), ("reject", "kubectl-annotate")),
)


class World:
    """A Pipeline and what Feldera shows of it, moved along step by step as the engine would."""

    def __init__(self, **replacements: Any) -> None:
        self.case = Case(resource=RESOURCE, observation=Observation(view=VIEW, program=PROGRAM), now=NOW)
        self.set(**replacements)

    def set(self, **replacements: Any) -> "World":
        """Change facts: fields of the view, of the resource, of the observation or of the case, or annotations."""
        for name, value in replacements.items():
            if name in ("approve", "reject"):
                self.case = replace(self.case, resource=replace(self.case.resource, **{name: parse_token(value)}))
            elif name == "view":
                self.case = replace(self.case, observation=replace(self.case.observation, view=value))
            elif name in ("absent", "program", "program_problem", "problem"):
                self.case = replace(self.case, observation=replace(self.case.observation, **{name: value}))
            elif name in ("rules", "duplicate_of", "released", "now", "is_news", "pause"):
                self.case = replace(self.case, **{name: value})
            elif name == "checkpoint":
                self.case = replace(self.case, resource=replace(self.case.resource, checkpoint=CheckpointMode(value)))
            elif name == "outputs":
                self.case = replace(self.case, resource=replace(self.case.resource, outputs=Outputs(value)))
            elif name in Resource.__slots__ and name != "status":
                self.case = replace(self.case, resource=replace(self.case.resource, **{name: value}))
            else:
                view = self.case.observation.view or VIEW
                self.set(view=replace(view, **{name: value}))
        return self

    def later(self, seconds: float) -> "World":
        """Let time pass."""
        self.case = replace(self.case, now=self.case.now + datetime.timedelta(seconds=seconds))
        return self

    def step(self) -> Any:
        """Decide once and record it; the answer is the action."""
        plan = decide(self.case)
        self.record(plan.status)
        self.recheck_at = plan.recheck_at
        return plan.action

    def answer(self, action: Any, answer: Answer) -> "World":
        """Settle the answer to a call."""
        self.record(settle(self.case, action, answer))
        return self

    def record(self, status: Status) -> None:
        self.case = replace(self.case, resource=replace(self.case.resource, status=status))

    @property
    def status(self) -> Status:
        return self.case.status

    @property
    def request_id(self) -> str:
        assert self.status.request is not None
        return self.status.request.id

    def condition(self, type_: str) -> tuple[str, str] | None:
        """Status and reason of one condition."""
        return next(((c.status, c.reason) for c in self.status.conditions if c.type == type_), None)

    def message(self, type_: str) -> str:
        return next(c.message for c in self.status.conditions if c.type == type_)


BROKEN = DeploymentError(code="InitializationError", message="cannot open sink")
STOPPED = {
    "status": "Stopped",
    "resources_desired_status": "Stopped",
    "deployment_id": None,
    "diff": None,
}
RUNNING = {"status": "Running", "diff": None}
NEXT_DEPLOYMENT = {"deployment_id": "deployment-2"}


def shown(**facts: Any) -> World:
    """A world whose request stands in the status."""
    world = World(**facts)
    assert world.step() is None
    return world


def approved(**facts: Any) -> World:
    """A world whose request was approved, and taken by Feldera."""
    world = shown(**facts)
    world.set(approve=world.request_id)
    return world.answer(world.step(), Accepted())


def sending(annotation: str = "approve") -> tuple[World, Act]:
    """A world whose decision is recorded, and the call that is to be made for it."""
    world = shown()
    action = world.set(**{annotation: world.request_id}).step()
    assert isinstance(action, Act)
    return world, action


def decision_of(world: World) -> Decision:
    """The recorded decision."""
    assert world.status.decision is not None
    return world.status.decision


def token_for(world: World, kind: str) -> str:
    assert world.status.request is not None
    return {"id": world.request_id, "digest": world.status.request.digest}.get(kind, kind)
