"""What a rollout by GitOps sees of Pipelines that do not find everything in its place at once."""

from typing import TYPE_CHECKING

from support import kstatus

if TYPE_CHECKING:
    from support.stage import Stage


async def test_a_secret_that_comes_after_its_pipeline_does_not_fail_a_rollout(stage: "Stage") -> None:
    """As one that another controller makes: Flux gives up on a whole Kustomization as soon as one part has failed."""
    stage.feldera.add("orders")
    async with stage.operator():
        stage.create("orders", connectionSecretRef={"name": "feldera"})
        assert kstatus.judge(stage.get("orders")) == kstatus.IN_PROGRESS
        await stage.reach("orders", lambda _: stage.condition("orders", "Connected").get("reason") == "SecretNotFound")
        assert kstatus.judge(stage.get("orders")) == kstatus.IN_PROGRESS
        stage.kube.put(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "feldera", "namespace": "default"},
                "type": "pipeline-approver.io/connection",
                "stringData": {"url": stage.feldera.url},
            }
        )
        await stage.reach("orders", lambda _: kstatus.judge(stage.get("orders")) == kstatus.CURRENT)


async def test_a_pipeline_that_feldera_does_not_have_yet_does_not_fail_a_rollout(stage: "Stage") -> None:
    async with stage.operator():
        stage.create("orders")
        await stage.reach("orders", lambda status: status.get("state") == "NotFound")
        assert kstatus.judge(stage.get("orders")) == kstatus.IN_PROGRESS
        stage.feldera.add("orders")
        await stage.reach("orders", lambda _: kstatus.judge(stage.get("orders")) == kstatus.CURRENT)
