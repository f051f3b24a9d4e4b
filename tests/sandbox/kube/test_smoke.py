"""The operator works on the in-memory Kubernetes API from the first list to the recorded checkpoint."""

from support.stage import Stage


async def test_the_operator_approves_on_the_sandbox(stage: Stage) -> None:
    stage.feldera.add("orders")
    stage.create("orders")
    async with stage.operator():
        stage.feldera.ask("orders")
        request = await stage.request("orders")
        stage.annotate("orders", approve=request["id"], approved_by="alice")
        decision = await stage.outcome("orders", "Bootstrapped")
    assert decision["by"] == {"via": "Annotation", "user": "alice", "manager": "kubectl"}
    assert len(stage.feldera.approvals) == 1
