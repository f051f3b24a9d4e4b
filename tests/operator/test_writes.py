"""What the operator writes to Kubernetes: the status, only the status, and only when it changes."""

from typing import Any

import pytest

from pipeline_approver.sandbox.feldera import pipeline_diff
from support.stage import Stage

DIFF = pipeline_diff(added_views=["daily"])
WRITES = ("create", "update", "patch", "delete", "deletecollection")


async def test_status_is_the_only_thing_ever_written_on_a_pipeline(stage: Stage) -> None:
    """An account without `patch` on pipelines suffices; with the policies of this project it can forge nothing."""

    def allow(user: str, verb: str, group: str, resource: str, subresource: str, *_: str) -> bool:
        may = {("pipelines", ""): ("get", "list", "watch"), ("pipelines", "status"): ("get", "patch")}
        if resource == "events":
            return verb in ("create", "get", "patch")
        return verb in may.get((resource, subresource), ())

    stage.kube.allow = allow
    async with stage.operator():
        stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
        stage.create("orders")
        request = await stage.request("orders")
        before = _without_status(stage.get("orders"))
        stage.annotate("orders", approve=request["id"])
        await stage.outcome("orders", "Bootstrapped")
        await stage.reach("orders", lambda _: stage.events("orders", "CheckpointComplete"))
        after = _without_status(stage.get("orders"))
    assert after == {**before, "annotations": after["annotations"]}
    assert after["annotations"] == {"pipeline-approver.io/approve": request["id"]}
    assert "finalizers" not in stage.get("orders")["metadata"]
    assert [request for request in stage.kube.requests if request.status == 403] == []
    assert {resource for verb, resource in stage.kube.counts if verb in WRITES} == {"pipelines/status", "events"}


async def test_an_approval_takes_at_most_five_writes_and_rest_takes_none(stage: Stage) -> None:
    async with stage.operator():
        stage.feldera.add("orders")
        stage.create("orders")
        await stage.reach("orders", lambda status: status.get("state") == "Running")
        before = stage.writes()
        stage.feldera.ask("orders", diff=DIFF)
        request = await stage.request("orders")
        stage.annotate("orders", approve=request["id"])
        await stage.reach("orders", lambda status: status.get("checkpoint_sequence_number") is not None)
        assert stage.writes() - before <= 5
        await stage.reach("orders", lambda status: status["decision"].get("checkpoint") == "Durable")
        await stage.polls(2)
        rest, events = stage.writes(), stage.kube.counts[("create", "events")]
        await stage.polls(10)
        assert stage.writes() == rest
        assert stage.kube.counts[("create", "events")] == events


@pytest.mark.parametrize(
    "spec", [{}, {"suspend": True}, {"pipelineName": "nobody"}, {"connectionSecretRef": {"name": "missing"}}]
)
@pytest.mark.parametrize("annotations", [{}, {"approve": "nonsense"}, {"approve": "0123456789ab", "reject": "x"}])
async def test_every_kind_of_rest_is_at_rest(stage: Stage, spec: dict[str, Any], annotations: dict[str, str]) -> None:
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    async with stage.operator():
        stage.create("orders", annotations=annotations, **spec)
        stage.create("other")
        await stage.reach("orders", lambda status: status.get("conditions"))
        await stage.polls(4)
        rest = stage.writes()
        await stage.polls(10)
        assert stage.writes() == rest


async def test_requests_to_feldera_do_not_grow_with_the_number_of_pipelines(stage: Stage) -> None:
    for number in range(50):
        stage.feldera.add(f"p{number}")
        stage.create(f"p{number}")
    async with stage.operator():
        for number in range(50):
            await stage.reach(f"p{number}", lambda status: status.get("state") == "Running")
        await stage.polls(5)
        assert {key: count for key, count in stage.feldera.counts.items() if key[1] != "/v0/pipelines"} == {}
        # One more that waits costs one full read.
        stage.feldera.ask("p7", diff=DIFF)
        await stage.request("p7")
        await stage.polls(5)
        assert stage.feldera.counts[("GET", "/v0/pipelines/{name}", "all")] == 1


def _without_status(pipeline: dict[str, Any]) -> dict[str, Any]:
    metadata = pipeline["metadata"]
    keys = ("name", "namespace", "uid", "generation", "labels", "finalizers")
    return {
        "annotations": metadata.get("annotations", {}),
        "spec": pipeline.get("spec"),
        **{key: metadata.get(key) for key in keys},
    }
