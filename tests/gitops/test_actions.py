"""Argo CD's actions on a Pipeline: when they are offered, what they write, and what the rules make of it."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline_approver.core.case import Act
from pipeline_approver.core.decision import decide
from pipeline_approver.core.resource import parse_resource
from pipeline_approver.core.status import Handled, Verdict
from support.argocd import ActionFailed, ArgoCD
from support.cases import World
from support.states import GROUP, SITUATIONS, make_manifest, with_annotations

VERDICTS = {"approve": Verdict.APPROVED, "reject": Verdict.REJECTED}
OPPOSITE = {"approve": "reject", "reject": "approve"}
# Nothing of theirs is in the way: they wait for a decision and for nothing else.
OPEN = {
    "waits",
    "waits, the spec was edited",
    "waits, approve and reject at once",
    "waits, a stale id is there",
    "waits again in another deployment",
}


@pytest.fixture(scope="module")
def customised(argocd: dict[str, ArgoCD]) -> ArgoCD:
    return argocd["suspended-while-waiting"]


def apply(manifest: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A merge patch that only changes annotations, applied."""
    assert set(patch) <= {"metadata"}
    assert set(patch["metadata"]) == {"annotations"}
    before = manifest["metadata"].get("annotations", {})
    after = {**before, **patch["metadata"]["annotations"]}
    annotations = {key: value for key, value in after.items() if value is not None}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}


def decide_about(world: World, manifest: dict[str, Any]) -> Any:
    """What the rules do about a changed manifest."""
    return decide(replace(world.case, resource=parse_resource(manifest)))


def test_both_variants_offer_the_same_actions(argocd: dict[str, ArgoCD]) -> None:
    one, two = argocd.values()
    assert (one.discovery_lua, one.action_lua) == (two.discovery_lua, two.action_lua)
    assert one.health_lua == two.health_lua.replace('"Healthy"', '"Suspended"', 1)


def test_reject_is_approve_with_the_words_exchanged(customised: ArgoCD) -> None:
    approve, reject = (
        [line for line in customised.action_lua[name].splitlines() if not line.startswith("--")] for name in VERDICTS
    )
    different = [pair for pair in zip(approve, reject, strict=True) if pair[0] != pair[1]]
    assert different == [('local mine, other = "approve", "reject"', 'local mine, other = "reject", "approve"')]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_actions_are_offered_while_a_request_waits_for_a_decision(situation: str, customised: ArgoCD) -> None:
    world = SITUATIONS[situation]()
    offered = customised.discover(make_manifest(world))
    decision, request = world.status.decision, world.status.request
    in_flight = decision is not None and decision.outcome.value in ("Sending", "Sent")
    if request is None or (in_flight and decision is not None and decision.request_id == request.id):
        assert offered == set()
    else:
        assert "reject" in offered
        assert ("approve" in offered) is (world.case.resource.approve.text != request.id)


@pytest.mark.parametrize("name", VERDICTS)
@pytest.mark.parametrize("situation", [name for name, build in SITUATIONS.items() if build().status.request])
def test_an_action_decides_the_request_that_waits(situation: str, name: str, customised: ArgoCD) -> None:
    world = SITUATIONS[situation]()
    manifest = make_manifest(world)
    request = world.status.request
    assert request is not None
    if manifest["metadata"]["annotations"].get(f"{GROUP}/{name}") == request.id:
        assert customised.act(name, manifest) == {}
        return
    changed = apply(manifest, customised.act(name, manifest))
    assert changed["metadata"]["annotations"][f"{GROUP}/{name}"] == request.id
    plan = decide_about(world, changed)
    if situation in OPEN:
        assert isinstance(plan.action, Act)
    if isinstance(plan.action, Act):
        assert (plan.action.verdict, plan.action.request_id) == (VERDICTS[name], request.id)
        assert getattr(plan.status.handled, name) == request.id


@pytest.mark.parametrize("situation", [name for name, build in SITUATIONS.items() if build().status.request is None])
@pytest.mark.parametrize("name", VERDICTS)
def test_an_action_without_a_request_says_so_and_changes_nothing(situation: str, name: str, customised: ArgoCD) -> None:
    with pytest.raises(ActionFailed, match="no request waits for approval"):
        customised.act(name, make_manifest(SITUATIONS[situation]()))


@pytest.mark.parametrize("name", VERDICTS)
@pytest.mark.parametrize("kind", ["id", "digest", "true", "true@release-42", "true@~"])
def test_the_opposite_of_the_same_request_is_taken_away(kind: str, name: str, customised: ArgoCD) -> None:
    world = SITUATIONS["waits"]()
    request = world.status.request
    assert request is not None
    value = {"id": request.id, "digest": request.digest}.get(kind, kind)
    manifest = with_annotations(make_manifest(world), **{OPPOSITE[name]: value})
    # Both at once would decide nothing.
    both = with_annotations(manifest, **{name: request.id})
    assert decide_about(world, both).action is None
    changed = apply(manifest, customised.act(name, manifest))
    assert set(changed["metadata"]["annotations"]) == {f"{GROUP}/{name}"}
    action = decide_about(world, changed).action
    assert isinstance(action, Act)
    assert action.verdict is VERDICTS[name]


@pytest.mark.parametrize("name", VERDICTS)
@pytest.mark.parametrize("value", ["0123456789ab", "sha256:" + "1" * 64, "false", "", "nonsense", "true@", "truth"])
def test_the_opposite_of_another_request_stays(value: str, name: str, customised: ArgoCD) -> None:
    world = SITUATIONS["waits"]()
    manifest = with_annotations(make_manifest(world), **{OPPOSITE[name]: value})
    changed = apply(manifest, customised.act(name, manifest))
    assert changed["metadata"]["annotations"][f"{GROUP}/{OPPOSITE[name]}"] == value
    assert isinstance(decide_about(world, changed).action, Act)


@pytest.mark.parametrize("name", VERDICTS)
@pytest.mark.parametrize("later", ["", "true@later"])
@pytest.mark.parametrize("value", ["true", "true@release-42"])
def test_an_opposite_that_is_used_up_stays_used_up(value: str, later: str, name: str, customised: ArgoCD) -> None:
    """Taken away, and brought back by a Git repository, it would be new, and decide the next request unasked."""
    world = SITUATIONS["waits"]()
    handled = Handled().use(OPPOSITE[name], value)
    world.record(replace(world.status, handled=handled.use(OPPOSITE[name], later) if later else handled))
    manifest = with_annotations(make_manifest(world), **{OPPOSITE[name]: value})
    changed = apply(manifest, customised.act(name, manifest))
    assert changed["metadata"]["annotations"][f"{GROUP}/{OPPOSITE[name]}"] == value
    plan = decide_about(world, changed)
    assert isinstance(plan.action, Act)
    assert getattr(plan.status.handled, OPPOSITE[name]) == (later or value)


def test_the_name_and_the_reason_of_an_earlier_decision_are_not_claimed(customised: ArgoCD) -> None:
    world = SITUATIONS["waits"]()
    manifest = with_annotations(
        make_manifest(world), approve="0123456789ab", approved_by="alice", reason="looked at it"
    )
    plan = decide_about(world, apply(manifest, customised.act("approve", manifest)))
    assert isinstance(plan.action, Act)
    assert (plan.status.decision.by.user, plan.status.decision.reason) == ("", "")


@pytest.mark.parametrize(("manager", "refused"), [("argocd-controller", True), ("kubectl-annotate", False)])
@pytest.mark.parametrize("name", VERDICTS)
def test_a_used_up_value_of_git_is_not_overwritten(name: str, manager: str, refused: bool, customised: ArgoCD) -> None:
    """Git would bring it back, and the operator would take it for a new one."""
    world = SITUATIONS["waits"]()
    world.record(replace(world.status, handled=Handled(**{name: "true@release-42"})))
    manifest = with_annotations(make_manifest(world), **{name: "true@release-42"})
    owned = {"f:metadata": {"f:annotations": {f"f:{GROUP}/{name}": {}}}}
    manifest["metadata"]["managedFields"] = [
        {"manager": "pipeline-approver", "subresource": "status", "fieldsV1": {"f:status": {}}},
        {"manager": manager, "operation": "Apply", "fieldsV1": owned},
    ]
    if refused:
        with pytest.raises(ActionFailed, match="true@release-42 stands in Git and is used up; decide there"):
            customised.act(name, manifest)
    else:
        assert customised.act(name, manifest)["metadata"]["annotations"][f"{GROUP}/{name}"] == world.request_id


@pytest.mark.parametrize("annotations", [None, {}, {"team": "shop"}])
def test_annotations_of_others_are_left_alone(annotations: dict[str, str] | None, customised: ArgoCD) -> None:
    world = SITUATIONS["waits"]()
    manifest = make_manifest(world)
    del manifest["metadata"]["annotations"]
    if annotations is not None:
        manifest["metadata"]["annotations"] = annotations
    patch = customised.act("approve", manifest)
    assert patch == {"metadata": {"annotations": {f"{GROUP}/approve": world.request_id}}}


def test_an_action_has_the_same_effect_however_often_it_is_clicked(customised: ArgoCD) -> None:
    for first, second in itertools.permutations(VERDICTS):
        manifest = make_manifest(SITUATIONS["waits"]())
        once = apply(manifest, customised.act(first, manifest))
        assert customised.act(first, once) == {}
        assert first not in customised.discover(once)
        both_ways = apply(once, customised.act(second, once))
        assert set(both_ways["metadata"]["annotations"]) == {f"{GROUP}/{second}"}


def test_the_lua_stands_in_one_place() -> None:
    folder = Path(__file__).resolve().parents[2] / "deploy" / "argocd"
    holders = [path for path in folder.rglob("*") if path.is_file() and "obj.status" in path.read_text("utf-8")]
    assert [path.name for path in holders] == ["argocd-cm.yaml"]
    (patch,) = yaml.safe_load_all(holders[0].read_text("utf-8"))
    assert (patch["kind"], patch["metadata"]) == ("ConfigMap", {"name": "argocd-cm"})
