"""The status survives its way through JSON, and nonsense in its place does not hurt."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_approver.core.resource import parse_resource
from pipeline_approver.core.settle import Accepted, Ambiguous, Progress
from pipeline_approver.core.status import Status
from pipeline_approver.core.statusjson import build_merge_patch, parse_status, render_status
from support.cases import JSON, RUNNING, World


def story() -> list[Status]:
    """Every status of one approval, in order."""
    world = World()
    seen = [world.status]
    world.step()
    seen.append(world.status)
    world.set(approve="true@1", approved_by="alice", reason="reviewed")
    action = world.step()
    seen.append(world.status)
    world.answer(action, Ambiguous(message="timeout"))
    seen.append(world.status)
    world.later(30)
    world.answer(world.step(), Accepted())
    seen.append(world.status)
    world.set(**RUNNING)
    world.answer(world.step(), Accepted(number=0, incarnation="one"))
    seen.append(world.status)
    world.answer(world.step(), Progress(success=0))
    seen.append(world.status)
    return seen


@pytest.mark.parametrize("status", story())
def test_reading_gives_back_what_was_written(status: Status) -> None:
    assert parse_status(render_status(status)) == status


@pytest.mark.parametrize("status", story())
def test_no_text_is_empty_because_an_api_server_may_take_that_for_null(status: Status) -> None:
    def texts(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [text for inner in value.values() for text in texts(inner)]
        return [text for inner in value for text in texts(inner)] if isinstance(value, list) else [value]

    assert "" not in texts(render_status(status))


def test_zero_is_a_checkpoint_sequence_number() -> None:
    assert render_status(story()[-1])["checkpoint_sequence_number"] == 0


def test_a_patch_leads_from_each_status_to_each_other() -> None:
    documents = [render_status(status) for status in story()]
    for before in documents:
        for after in documents:
            assert apply_patch(before, build_merge_patch(before, after)) == after
            assert (build_merge_patch(before, after) == {}) is (before == after)


@given(value=JSON)
def test_nonsense_counts_as_absent(value: Any) -> None:
    assert isinstance(parse_status(value), Status)


@given(data=st.data())
def test_nonsense_in_any_one_place_of_a_manifest_is_survived(data: st.DataObject) -> None:
    status = render_status(story()[-1])
    key = data.draw(st.sampled_from(sorted(status)))
    status[key] = data.draw(JSON)
    metadata = {"uid": "u", "namespace": "n", "name": "p", "annotations": None}
    resource = parse_resource({"metadata": metadata, "spec": data.draw(JSON), "status": status})
    render_status(resource.status)


def apply_patch(target: Any, patch: Any) -> Any:
    """RFC 7386, written down once more."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_patch(result.get(key), value)
    return result
