"""A team's repository as docs/gitops.md has it, with the pipeline that it describes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from support import docs
from support.gitops import SYNCED, Controller, Manifest, Repository
from support.rollout import AFTER, BEFORE
from support.stage import Stage

BLOCKS = docs.read_blocks("gitops.md")
KEY = "apikey:writer"
NAMESPACE = "shop"
ROUNDS = 6


class Shop:
    """A team's repository, its pipeline, and the stage they are on."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        environ = {**stage.environ, "FELDERA_API_KEY": KEY}
        self.repository = Repository(folder / "repository", environ)
        for name in ("kustomization", "pipeline", "decision"):
            self.repository.write(f"orders/{name}.yaml", BLOCKS[name])
        self.repository.write("orders/orders.sql", BEFORE)
        self.repository.write("rollout.sh", BLOCKS["rollout"])
        self.repository.commit("Begin")
        stage.feldera.gate.api_keys = {KEY: "write"}
        stage.kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        stage.feldera.add("orders", program=BEFORE)
        self.operator_environ = environ

    def edit(self, program: str = AFTER) -> None:
        """Change the SQL in the working copy."""
        self.repository.write("orders/orders.sql", program)

    async def run(self, block: str) -> str:
        """Run a block of the page."""
        return await self.repository.run(BLOCKS[block])

    async def roll_out(self) -> None:
        """What CI does after a merge."""
        await self.repository.run("source rollout.sh")

    @property
    def pipeline(self) -> Manifest:
        """The Pipeline as it is."""
        return self.stage.get("orders", NAMESPACE)

    @property
    def status(self) -> dict[str, Any]:
        """Its status."""
        return self.stage.status("orders", NAMESPACE)

    async def reach(self, is_reached: Callable[[dict[str, Any]], Any]) -> Any:
        """Wait until the status is so."""
        return await self.stage.reach("orders", is_reached, NAMESPACE)

    async def request(self) -> dict[str, Any]:
        """The request that waits."""
        found: dict[str, Any] = await self.reach(lambda status: status.get("request"))
        return found

    async def settle(self, outcome: str = "Bootstrapped") -> dict[str, Any]:
        """The decision once it is at its end, checkpoint and all."""

        def look(status: dict[str, Any]) -> Any:
            decision = status.get("decision", {})
            durable = outcome != "Bootstrapped" or decision.get("checkpoint") == "Durable"
            return decision.get("outcome") == outcome and durable and decision

        found: dict[str, Any] = await self.reach(look)
        return found

    async def stays_as_it_is(self, controller: Controller) -> None:
        """Many more rounds and polls: no write by the operator, none that changes anything by the controller."""
        await controller.sync()
        await self.stage.polls(2)
        before, decided = self.pipeline, len(self.stage.feldera.approvals)
        writes = self.stage.kube.counts[("patch", "pipelines/status")]
        for _ in range(ROUNDS):
            assert await controller.sync() == SYNCED
        await self.stage.polls(3)
        assert self.pipeline["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        assert self.stage.kube.counts[("patch", "pipelines/status")] == writes
        assert len(self.stage.feldera.approvals) == decided
        self.has_no_drift()

    def has_no_drift(self) -> None:
        """What is in Git is in the cluster, and nothing else but defaults and the status."""
        [wanted] = self.repository.read(self.repository.head, "orders")
        live = self.pipeline
        annotations = wanted["metadata"].get("annotations", {})
        assert live["metadata"].get("annotations", {}) == annotations
        assert not {"labels", "finalizers", "ownerReferences"} & set(live["metadata"])
        assert live["spec"] == {"checkpoint": "AfterBootstrap", "suspend": False, **wanted["spec"]}

    @property
    def approved(self) -> list[bool]:
        """The approvals that reached Feldera: whether each had an effect."""
        return [approval.effective for approval in self.stage.feldera.approvals]
