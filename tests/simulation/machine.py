"""A world whose deeds and accidents Hypothesis chooses, one by one: what breaks a promise is shortened to its essence.

Episodes draw everything from one seed and run for days. Here messages have trouble only where a rule says so,
therefore an example reads like a story: who did what, how much time passed then, and which message was lost.
"""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from pipeline_approver.settings import Settings
from simulation.deployments import Program, Traits
from simulation.kubernetes import Key
from simulation.network import FELDERA_FAULTS, KUBERNETES_FAULTS
from simulation.operator import Operator
from simulation.pipelines import Pipeline
from simulation.world import Config, World

BASE = Program("program 0", (("t1", 0), ("v1", 0)))
CHANGES = (
    Program("program 1", (("t1", 0), ("v1", 1))),
    Program("program 2", (("t1", 0), ("v1", 1)), "fn f2()"),
    Program("program 3", (("t1", 3), ("v1", 0), ("v2", 3))),
)
"""The second differs from the first in what no diff shows."""
VALUES = ("id", "digest", "true", "true@1", "id before", "part of the id", "nonsense")
POLL_SECONDS = 20.0

numbers = st.integers(0, 1)
pauses = st.sampled_from((25.0, 0.02, 1.0, 8.0, 70.0))
"""How much time passes after a deed: a poll, less, or as long as a call may be sent again after."""


class Machine(RuleBasedStateMachine):
    """Two Pipelines or a Pipeline and its twin, one or two operators, one or two pipelines that wait in Feldera."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None
        self.ids: list[str] = []
        """Of all requests that were ever shown."""

    @initialize(
        operators=st.integers(1, 2),
        twins=st.booleans(),
        one_shot=st.sampled_from(("any", "waiting")),
        documented=st.booleans(),
    )
    def begin(self, operators: int, twins: bool, one_shot: str, documented: bool) -> None:
        """Make a world in which everything waits for approval."""
        config = Config(
            seed=0,
            pipelines=1 if twins else 2,
            twins=1 if twins else 0,
            operators=operators,
            settings=Settings(one_shot=one_shot, poll_interval_seconds=POLL_SECONDS),
            traits=Traits(documented=documented),
            skew_seconds=0.0,
            trouble=0.0,
        )
        world = self.world = World(config)
        for number, pipeline in enumerate(world.feldera.pipelines.values()):
            pipeline.checkpoint = BASE
            self._start(pipeline, CHANGES[number])
        for key in world.keys:
            world.people.annotate(key, approve="", reject="")
        world.start()
        self._go_on(30.0)

    def teardown(self) -> None:
        """Whatever was done: once trouble ends, everything comes to its end."""
        if self.world is None:
            return
        try:
            if not self.world.complaints:
                self.world.settle()
        finally:
            self.world.close()

    # People.

    @rule(number=numbers, word=st.sampled_from(("approve", "reject")), value=st.sampled_from(VALUES), then=pauses)
    def annotate(self, number: int, word: str, value: str, then: float) -> None:
        """`kubectl annotate --overwrite`."""
        key = self._key(number)
        text = self._find_value(key, value)
        if text:
            self._world.people.annotate(key, **{word: text})
        self._go_on(then)

    @rule(number=numbers, then=pauses)
    def clear(self, number: int, then: float) -> None:
        """Both annotations are taken away."""
        self._world.people.annotate(self._key(number), approve="", reject="")
        self._go_on(then)

    @rule(number=numbers, suspend=st.booleans(), then=pauses)
    def suspend(self, number: int, suspend: bool, then: float) -> None:
        """`spec.suspend` is set or taken away."""
        self._edit(number, suspend=suspend)
        self._go_on(then)

    @rule(number=numbers, outputs=st.sampled_from(("Emit", "Silent")), then=pauses)
    def choose_outputs(self, number: int, outputs: str, then: float) -> None:
        """`spec.outputs` is set."""
        self._edit(number, outputs=outputs)
        self._go_on(then)

    @rule(number=numbers, then=pauses)
    def create_anew(self, number: int, then: float) -> None:
        """Delete, and create at once with the same annotations."""
        kubernetes, key = self._world.kubernetes, self._key(number)
        old = kubernetes.pipelines[key]
        kubernetes.delete(key)
        annotations = dict(old["metadata"]["annotations"])
        kubernetes.create(*key, spec=old["spec"], annotations=annotations, manager="kubectl-create")
        self._go_on(then)

    # Pipelines.

    @rule(number=numbers, change=st.sampled_from(CHANGES), then=pauses)
    def roll_out(self, number: int, change: Program, then: float) -> None:
        """Start a stopped pipeline with another program; stop one that is not stopped."""
        pipeline = self._pipeline(number)
        if not self._start(pipeline, change):
            pipeline.stop()
        self._go_on(then)

    @rule(number=numbers, then=pauses)
    def swap(self, number: int, then: float) -> None:
        """Stop, change and start as fast as Feldera allows."""
        self._world.owners.swap(self._pipeline(number).name)
        self._go_on(then)

    @rule(number=numbers, loses_storage=st.booleans(), pulled=st.sampled_from((None, *CHANGES)), then=pauses)
    def crash_pipeline(self, number: int, loses_storage: bool, pulled: Program | None, then: float) -> None:
        """The pod dies and comes back, perhaps from another state than before."""
        self._pipeline(number).crash(loses_storage=loses_storage, pulled=pulled)
        self._go_on(then)

    @rule(number=numbers, then=pauses)
    def flap(self, number: int, then: float) -> None:
        """The runner does not reach the pod once."""
        self._pipeline(number).flap()
        self._go_on(then)

    @rule(number=numbers, desired=st.sampled_from(("Running", "Paused", "Suspended")), then=pauses)
    def desire(self, number: int, desired: str, then: float) -> None:
        """Somebody wants the pipeline otherwise."""
        self._pipeline(number).desire(desired)
        self._go_on(then)

    @rule(number=numbers, then=pauses)
    def approve_past_the_operator(self, number: int, then: float) -> None:
        """Somebody approves in Feldera itself."""
        pipeline = self._pipeline(number)
        if pipeline.status == "AwaitingApproval":
            pipeline.approve(silent=False, concurrent=False)
        self._go_on(then)

    # Accidents.

    @rule(fate=st.sampled_from(sorted(FELDERA_FAULTS)))
    def spoil_next_decision(self, fate: str) -> None:
        """Something happens to the next call that asks Feldera to do something."""
        self._world.to_feldera.next_faults.append(fate)

    @rule()
    def overtake_next_decision(self) -> None:
        """The next call to Feldera arrives late, and finds the pipeline stopped and started meanwhile."""
        self._world.to_feldera.next_faults.append("overtaken")

    @rule(fate=st.sampled_from(sorted(KUBERNETES_FAULTS)))
    def spoil_next_write(self, fate: str) -> None:
        """Something happens to the next write to the Kubernetes API."""
        self._world.to_kubernetes.next_faults.append(fate)

    @rule(feldera=st.booleans(), down=st.booleans(), then=pauses)
    def cut_off(self, feldera: bool, down: bool, then: float) -> None:
        """An API cannot be reached any more, or again."""
        network = self._world.to_feldera if feldera else self._world.to_kubernetes
        network.down = down
        self._go_on(then)

    @rule(up=st.booleans(), then=pauses)
    def run_runner(self, up: bool, then: float) -> None:
        """Feldera's runner stands still, so that what is shown is old, or catches up."""
        self._world.feldera.set_runner(up)
        self._go_on(then)

    @rule(number=numbers, then=pauses)
    def crash_operator(self, number: int, then: float) -> None:
        """SIGKILL, and the next process at once."""
        operator = self._operator(number)
        operator.crash()
        operator.start()
        self._go_on(then)

    @rule(number=numbers, seconds=st.sampled_from((8.0, 25.0, 300.0)), then=pauses)
    def freeze_operator(self, number: int, seconds: float, then: float) -> None:
        """The process stands still."""
        self._operator(number).freeze(seconds)
        self._go_on(then)

    @rule(number=numbers, seconds=st.sampled_from((8.0, 300.0)), forgotten=st.booleans(), then=pauses)
    def cut_watch(self, number: int, seconds: float, forgotten: bool, then: float) -> None:
        """The operator learns nothing from Kubernetes for a while."""
        watch = self._operator(number).watch
        if watch is not None:
            watch.cut(seconds, forgotten=forgotten)
        self._go_on(then)

    @rule(number=numbers, seconds=st.sampled_from((-3600.0, -30.0, 30.0, 3600.0)), then=pauses)
    def set_clock(self, number: int, seconds: float, then: float) -> None:
        """The clock of an operator's machine is put forward or back."""
        self._operator(number).skew_seconds += seconds
        self._go_on(then)

    @property
    def _world(self) -> World:
        assert self.world is not None
        return self.world

    def _go_on(self, seconds: float) -> None:
        """Time passes; raises Violation."""
        self._world.run(seconds)
        for manifest in self._world.kubernetes.pipelines.values():
            request = manifest.get("status", {}).get("request")
            if request is not None and request["id"] not in self.ids:
                self.ids.append(request["id"])

    def _key(self, number: int) -> Key:
        return self._world.keys[number % len(self._world.keys)]

    def _pipeline(self, number: int) -> Pipeline:
        pipelines = list(self._world.feldera.pipelines.values())
        return pipelines[number % len(pipelines)]

    def _operator(self, number: int) -> Operator:
        operators = self._world.operators
        return operators[number % len(operators)]

    @staticmethod
    def _start(pipeline: Pipeline, program: Program) -> bool:
        pipeline.edit(program)
        return pipeline.start(initial="Running", policy="await_approval", silent=False, concurrent=False)

    def _edit(self, number: int, **fields: Any) -> None:
        key = self._key(number)
        spec = {**self._world.kubernetes.pipelines[key]["spec"], **fields}
        self._world.kubernetes.update(key, manager="kubectl-edit", spec=spec)

    def _find_value(self, key: Key, value: str) -> str:
        """The text of a value; empty where there is no such thing yet."""
        request = self._world.kubernetes.pipelines[key].get("status", {}).get("request", {})
        known: dict[str, str] = {
            "id": request.get("id", ""),
            "digest": request.get("digest", ""),
            "part of the id": request.get("id", "")[:8],
            "id before": self.ids[-2] if len(self.ids) > 1 else "",
            "nonsense": "yes",
        }
        return known.get(value, value)
