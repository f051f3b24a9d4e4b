"""One world from one seed: both APIs, operators, everybody who acts, and every invariant."""

import collections
import contextlib
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline_approver.settings import Settings
from simulation.actors import SECRET, GitOps, Owners, People, make_secret
from simulation.calls import CallChecks
from simulation.checks import StatusChecks
from simulation.deployments import Traits
from simulation.deployments import World as FelderaWorld
from simulation.feldera import Feldera
from simulation.kubernetes import Change, Key, Kubernetes, Write
from simulation.loop import SimLoop
from simulation.network import FELDERA_FAULTS, KUBERNETES_FAULTS, Answer, Call, Network
from simulation.operator import Listener, Operator
from simulation.rest import RestChecks
from simulation.truth import TokenBook

NAMESPACES = ("shop", "bank")
COMPLAINTS_KEPT = 5


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """How a world is made."""

    seed: int
    pipelines: int = 2
    twins: int = 0
    operators: int = 2
    settings: Settings = field(default_factory=Settings)
    traits: Traits = field(default_factory=Traits)
    skew_seconds: float = 2.0
    pace_seconds: float = 60.0
    """Between two deeds of one actor, on average."""
    trouble: float = 0.05


class World:
    """Everything, until `close`."""

    def __init__(self, config: Config, *, trace: Callable[[str], None] | None = None) -> None:
        self.config = config
        self.rng = random.Random(config.seed)
        self.counts: collections.Counter[str] = collections.Counter()
        self.complaints: list[str] = []
        self.active = False
        self._trace = trace
        self.loop = SimLoop(random.Random(self.rng.random()))
        clock = lambda: self.loop.now  # noqa: E731
        self.kubernetes = Kubernetes(clock=clock, rng=self._fork())
        self.feldera = Feldera(FelderaWorld(after=self.loop.after, clock=clock, rng=self._fork(), traits=config.traits))
        self.tokens = TokenBook()
        self.statuses = StatusChecks(self.feldera, self.tokens, config.settings.one_shot, self.complain)
        self.calls = CallChecks(
            kubernetes=self.kubernetes,
            statuses=self.statuses,
            settings=config.settings,
            clock=clock,
            complain=self.complain,
        )
        self.to_kubernetes = self._connect(KUBERNETES_FAULTS, self.kubernetes.serve, self.kubernetes.spoil)
        self.to_feldera = self._connect(FELDERA_FAULTS, self._serve_feldera, self.feldera.spoil)
        self.kubernetes.on_change.append(self._note_change)
        self.kubernetes.on_write += [self._note_write, self.statuses.judge, self.calls.note_write]
        self.feldera.world.on_leave.append(self.calls.note_leave)
        self.feldera.on_stop.append(self.calls.note_stop)
        self.people = People(self.kubernetes, self.feldera, self._fork())
        self.gitops = GitOps(self.kubernetes, self.people, self._fork())
        self.owners = Owners(self.feldera, self._fork(), self.loop.after)
        self.operators = [self._make_operator(number) for number in range(config.operators)]
        self.rest = RestChecks(self)
        self.keys: list[Key] = []
        self._populate()
        self._listener = Listener(self.complain)
        self._closing = contextlib.ExitStack()
        self._closing.enter_context(_quiet(self._listener))
        self._closing.enter_context(_seeded(self.rng.random()))

    def close(self) -> None:
        """End all processes."""
        self.active = False
        for operator in self.operators:
            operator.crash()
        self._closing.close()

    def complain(self, text: str) -> None:
        """An invariant does not hold."""
        self.note(f"VIOLATION {text}")
        if len(self.complaints) < COMPLAINTS_KEPT:
            self.complaints.append(f"at {self.loop.now:.3f} s, step {self.loop.steps}: {text}")

    def note(self, text: str) -> None:
        """Tell whoever traces."""
        if self._trace is not None:
            self._trace(f"{self.loop.now:12.3f} {text}")

    def run(self, seconds: float) -> None:
        """Let the world go on; raises Violation."""
        end = self.loop.now + seconds
        while self.loop.now < end and not self.complaints:
            self.loop.run_until(min(end, self.loop.now + 60.0))
        self._raise()

    def start(self) -> None:
        """Start all operators."""
        for operator in self.operators:
            operator.start()

    def heal(self) -> None:
        """End all trouble; whoever is down comes back."""
        self.active = False
        for network in (self.to_feldera, self.to_kubernetes):
            network.trouble, network.down = 0.0, False
            network.next_faults.clear()
        self.feldera.bad_row = ""
        self.feldera.set_runner(True)
        self.set_keys()
        for operator in self.operators:
            operator.start()
            operator.thaw()
            if operator.watch is not None:
                operator.watch.connect()

    def settle(self) -> None:
        """End all trouble, and see to it that everything comes to its end in time; raises Violation."""
        self.heal()
        self.rest.settle()
        self._raise()
        self.calls.forget(self.loop.now - 3600.0)

    def accident(self, kind: str, call: Call) -> None:
        """What happens just when a message is sent, served or answered."""
        operator: Operator = call.operator
        self.note(f"{operator.name} is {kind}: {call.method} {call.path}")
        if kind == "overtaken":
            self.owners.swap(call.path.split("/")[3])
        elif kind.startswith("killed"):
            operator.crash()
            self.loop.after(self.rng.uniform(0.5, 30.0), operator.start)
        else:
            operator.freeze(self.rng.choice((0.1, 2.0, 8.0, 21.0, 90.0)))

    def _raise(self) -> None:
        for failure in self.loop.failures:
            self.complain(failure)
        if self.complaints:
            raise Violation("\n".join([f"seed {self.config.seed}", *self.complaints]))

    def _fork(self) -> random.Random:
        return random.Random(self.rng.random())

    def _connect(self, faults: dict[str, int], serve: Callable[[Call], Answer], spoil: Any) -> Network:
        return Network(
            loop=self.loop,
            rng=self._fork(),
            faults=faults,
            serve=serve,
            spoil=spoil,
            counts=self.counts,
            accident=self.accident,
        )

    def _make_operator(self, number: int) -> Operator:
        rng = self._fork()
        operator = Operator(
            f"operator-{number}",
            loop=self.loop,
            rng=rng,
            settings=self.config.settings,
            kubernetes=self.kubernetes,
            to_kubernetes=self.to_kubernetes,
            to_feldera=self.to_feldera,
            on_send=self._note_send,
            complain=self.complain,
        )
        operator.skew_seconds = rng.uniform(-self.config.skew_seconds, self.config.skew_seconds)
        return operator

    def _populate(self) -> None:
        self.set_keys()
        for number in range(self.config.pipelines):
            self.owners.create(f"p{number}")
            self.keys.append((NAMESPACES[number % 2], f"p{number}"))
        self.keys += [(NAMESPACES[number % 2], f"twin-p{number}") for number in range(self.config.twins)]
        for key in self.keys:
            self.people.create(key)

    def set_keys(self) -> None:
        """All keys are accepted, and the Secrets hold them."""
        self.feldera.keys = {"": "write"}
        for namespace in NAMESPACES:
            key = f"apikey:{namespace}"
            self.feldera.keys[key] = "write"
            self.kubernetes.secrets[(namespace, SECRET)] = make_secret(namespace, key)

    def _serve_feldera(self, call: Call) -> Answer:
        answer = self.feldera.serve(call)
        call.answer = call.answer or answer
        if call.method == "POST":
            self.note(f"{call.operator.name} {call.path} {call.query} is answered {answer.status} {answer.body!r}")
        self.calls.note_answer(call)
        return answer

    def _note_send(self, call: Call) -> None:
        if call.method == "POST":
            self.note(f"{call.operator.name} sends {call.path}")
        self.calls.note_call(call)

    def _note_change(self, change: Change) -> None:
        self.tokens.note(change)
        if self._trace is not None:
            metadata = change.manifest["metadata"]
            self.note(f"{change.type} {metadata['name']} {metadata['annotations']} {change.manifest['spec']}")

    def _note_write(self, write: Write) -> None:
        if self._trace is not None:
            status = write.after.get("status", {})
            decision = status.get("decision", {})
            self.note(
                f"{write.operator.name} writes {write.after['metadata']['name']}: {status.get('state')}"
                f" request {status.get('request', {}).get('id')} of {status.get('pipeline', {}).get('deploymentId')}"
                f" decision {decision.get('requestId')} {decision.get('verdict')} {decision.get('outcome')}"
                f" {decision.get('attempts')} {decision.get('checkpoint')} {decision.get('message')}"
                f" handled {status.get('handled')} ignored {[it['reason'] for it in status.get('ignored', [])]}"
            )


@contextlib.contextmanager
def _quiet(listener: logging.Handler) -> Iterator[None]:
    """Only errors of the product are worth the time that a record takes."""
    logger = logging.getLogger("pipeline_approver")
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.ERROR)
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = propagate


@contextlib.contextmanager
def _seeded(seed: float) -> Iterator[None]:
    """The product spreads its polls with the process-wide generator."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
