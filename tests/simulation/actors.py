"""Who does things to the world: people, a GitOps controller, the owners of pipelines.

Everybody acts on what can be seen, or on what could be seen a while ago, and makes mistakes.
"""

import base64
import random
from collections.abc import Callable
from typing import Any

from simulation.deployments import Program
from simulation.feldera import Feldera
from simulation.kubernetes import GROUP, Key, Kubernetes, Manifest
from simulation.pipelines import RUNNING, Pipeline
from simulation.truth import APPROVE, REJECT, digest_of, name_of, outputs_of

NONSENSE = (
    "yes",
    "TRUE",
    "true@",
    " true",
    "3f9a1c07be4",
    "0123456789ab",
    "sha256:12",
    "sha256:" + "0" * 64,
    "no 👍",
    "x" * 300,
)
WORDS = ("true", "true@1", "true@2")
SECRET = "feldera"


class People:
    """Whoever writes to Pipelines with kubectl."""

    def __init__(self, kubernetes: Kubernetes, feldera: Feldera, rng: random.Random) -> None:
        self._kubernetes = kubernetes
        self._feldera = feldera
        self._rng = rng
        self._remembered: list[str] = []
        """Ids and digests that were shown at some time."""

    def act(self, key: Key) -> None:
        """Do something to one Pipeline."""
        manifest = self._kubernetes.pipelines.get(key)
        if manifest is None:
            self.create(key)
            return
        choice = self._rng.choices(
            ("approve", "reject", "both", "clear", "edit", "delete", "explain"), (10, 4, 2, 8, 3, 1, 2)
        )[0]
        match choice:
            case "approve":
                self.annotate(key, approve=self.choose(manifest))
            case "reject":
                self.annotate(key, reject=self.choose(manifest))
            case "both":
                self.annotate(key, approve=self.choose(manifest), reject=self.choose(manifest))
            case "clear":
                self.annotate(key, approve="", reject="")
            case "explain":
                self.annotate(
                    key,
                    reason=self._rng.choice(("", "ok", "🚀" * 7)),
                    **{"approved-by": self._rng.choice(("", "alice"))},
                )
            case "edit":
                self.edit(key)
            case "delete":
                self.delete(key)

    def choose(self, manifest: Manifest) -> str:
        """A value for approve or reject."""
        request = manifest.get("status", {}).get("request")
        if request is not None:
            self._remembered = [*self._remembered, request["id"], request["digest"]][-8:]
        pipeline = self._feldera.pipelines.get(name_of(manifest))
        deployment = pipeline.deployment if pipeline else None
        choices: list[tuple[str, int]] = [(word, 3) for word in WORDS]
        choices += [(self._rng.choice(NONSENSE), 2)]
        if request is not None:
            choices += [(request["id"], 14), (request["digest"], 4), (request["id"][:6], 1)]
        if self._remembered:
            choices.append((self._rng.choice(self._remembered), 3))
        if deployment is not None and deployment.diff is not None:
            choices.append((digest_of(deployment, outputs_of(manifest, deployment)), 3))
        values, weights = zip(*choices, strict=True)
        chosen: str = self._rng.choices(values, weights)[0]
        return chosen

    def annotate(self, key: Key, manager: str = "kubectl-annotate", **values: str) -> None:
        """`kubectl annotate --overwrite`; an empty value removes."""
        annotations = dict(self._kubernetes.pipelines[key]["metadata"]["annotations"])
        for name, value in values.items():
            annotations.pop(f"{GROUP}/{name}", None)
            if value:
                annotations[f"{GROUP}/{name}"] = value
        self._kubernetes.update(key, manager=manager, annotations=annotations)

    def edit(self, key: Key) -> None:
        """`kubectl edit`: one field of the spec."""
        spec = dict(self._kubernetes.pipelines[key]["spec"])
        rng = self._rng
        match rng.choices(("suspend", "outputs", "checkpoint", "pipelineName", "connectionSecretRef"), (6, 4, 3, 1, 1))[
            0
        ]:
            case "suspend":
                spec["suspend"] = not spec.get("suspend", False)
            case "outputs":
                spec.pop("outputs", None)
                if outputs := rng.choice(("", "Emit", "Silent")):
                    spec["outputs"] = outputs
            case "checkpoint":
                spec["checkpoint"] = rng.choice(("AfterBootstrap", "Never"))
            case "pipelineName":
                spec["pipelineName"] = rng.choice(sorted(self._feldera.pipelines) or ["p0"])
            case "connectionSecretRef":
                if spec.pop("connectionSecretRef", None) is None:
                    spec["connectionSecretRef"] = {"name": SECRET}
        self._kubernetes.update(key, manager="kubectl-edit", spec=spec)

    def create(self, key: Key, **annotations: str) -> None:
        """`kubectl create`."""
        spec: dict[str, Any] = {}
        if self._rng.random() < 0.3:
            spec["connectionSecretRef"] = {"name": SECRET}
        if key[1].startswith("twin-"):
            spec["pipelineName"] = key[1].removeprefix("twin-")
        if not annotations and self._rng.random() < 0.2:
            annotations = {APPROVE: self._rng.choice(WORDS)}
        self._kubernetes.create(*key, spec=spec, annotations=annotations, manager="kubectl-create")

    def delete(self, key: Key) -> None:
        """`kubectl delete`, sometimes followed at once by `kubectl create`."""
        old = self._kubernetes.pipelines[key]
        if self._rng.random() < 0.3 and "deletionTimestamp" not in old["metadata"]:
            self._kubernetes.delete(key, held=True)
            return
        self._kubernetes.delete(key)
        if self._rng.random() < 0.5:
            again = self._rng.random() < 0.5
            self.create(key, **(old["metadata"]["annotations"] if again else {}))


class GitOps:
    """A controller that applies what stands in a repository, again and again."""

    def __init__(self, kubernetes: Kubernetes, people: People, rng: random.Random) -> None:
        self._kubernetes = kubernetes
        self._people = people
        self._rng = rng
        self._repository: dict[Key, dict[str, str]] = {}

    def act(self, key: Key) -> None:
        """Sync one Pipeline; now and then somebody has committed something."""
        manifest = self._kubernetes.pipelines.get(key)
        if manifest is None:
            return
        if key not in self._repository or self._rng.random() < 0.3:
            commit = {"approve": self._people.choose(manifest)}
            if self._rng.random() < 0.2:
                commit = {"reject": self._people.choose(manifest)}
            self._repository[key] = commit if self._rng.random() < 0.8 else {}
        self._people.annotate(key, manager="argocd", **self._repository[key])


class Owners:
    """Whoever develops pipelines, and what happens to pipelines by itself."""

    def __init__(self, feldera: Feldera, rng: random.Random, after: Callable[..., None]) -> None:
        self._feldera = feldera
        self._rng = rng
        self._after = after
        self._programs: list[Program] = []

    def act(self, name: str) -> None:
        """Do something to one pipeline."""
        pipeline = self._feldera.pipelines.get(name)
        if pipeline is None:
            self.create(name)
            return
        phase = pipeline.process.phase if pipeline.process else pipeline.resources
        if phase == "Stopped":
            self._roll_out(pipeline)
        elif phase in RUNNING:
            self._disturb_running(pipeline)
        elif phase == "AwaitingApproval":
            self._disturb_waiting(pipeline)
        elif self._rng.random() < 0.2:
            pipeline.stop()

    def create(self, name: str) -> Pipeline:
        pipeline = self._feldera.create(name, self.write_program())
        pipeline.checkpoint = self.write_program() if self._rng.random() < 0.7 else None
        return pipeline

    def write_program(self) -> Program:
        """A new program, a variant of an older one, or an older one again."""
        rng = self._rng
        if not self._programs:
            self._programs.append(Program("program 0", (("t1", 0), ("v1", 0))))
        base = rng.choice(self._programs)
        kind = rng.choices(("same", "modified", "added", "removed", "udf", "broken"), (3, 6, 2, 1, 2, 1))[0]
        relations, serial = dict(base.relations), len(self._programs)
        match kind:
            case "same":
                return base
            case "modified":
                name = rng.choice(sorted(relations))
                relations[name] = serial
            case "added":
                relations[rng.choice(("v2", "v3", "t2"))] = serial
            case "removed" if len(relations) > 1:
                del relations[rng.choice(sorted(relations))]
        program = Program(
            f"program {serial}{' broken' if kind == 'broken' else ''}",
            tuple(sorted(relations.items())),
            f"fn f{serial}()" if kind == "udf" else base.udf,
        )
        self._programs = [*self._programs, program][-6:]
        return program

    def _roll_out(self, pipeline: Pipeline) -> None:
        rng = self._rng
        if rng.random() < 0.05:
            self._feldera.delete(pipeline.name)
            if rng.random() < 0.7:
                self._roll_out(self.create(pipeline.name))
            return
        if rng.random() < 0.7:
            pipeline.edit(self.write_program())
        policy = rng.choices(("await_approval", "allow", "reject"), (16, 1, 1))[0]
        silent, concurrent = rng.choices(((False, False), (True, False), (False, True)), (8, 3, 1))[0]
        initial = rng.choices(RUNNING, (6, 1))[0]
        pipeline.start(initial=initial, policy=policy, silent=silent, concurrent=concurrent)
        if rng.random() < 0.1:
            pipeline.fails_next = "InitializationError"
        if rng.random() < 0.1:
            pipeline.fails_next_checkpoint = True

    def _disturb_running(self, pipeline: Pipeline) -> None:
        match self._rng.choices(("checkpoint", "swap", "crash", "desire", "flap"), (2, 6, 2, 1, 2))[0]:
            case "checkpoint":
                pipeline.write_scheduled_checkpoint()
            case "swap":
                self.swap(pipeline.name)
            case "crash":
                self._crash(pipeline)
            case "desire":
                pipeline.desire(self._rng.choice(("Running", "Paused", "Suspended")))
            case "flap":
                pipeline.flap()

    def _disturb_waiting(self, pipeline: Pipeline) -> None:
        match self._rng.choices(
            ("nothing", "swap", "stop", "approve", "crash", "desire", "flap"), (10, 4, 2, 1, 2, 2, 4)
        )[0]:
            case "swap":
                self.swap(pipeline.name)
            case "stop":
                pipeline.stop()
            case "approve":
                pipeline.approve(silent=False, concurrent=False)
            case "crash":
                self._crash(pipeline)
            case "desire":
                pipeline.desire(self._rng.choice(("Running", "Running", "Paused", "Suspended")))
            case "flap":
                pipeline.flap()

    def _crash(self, pipeline: Pipeline) -> None:
        pulled = self.write_program() if self._rng.random() < 0.5 else None
        pipeline.crash(loses_storage=self._rng.random() < 0.4, pulled=pulled)

    def swap(self, name: str) -> None:
        """Stop, edit and start again as fast as Feldera allows."""
        pipeline = self._feldera.pipelines.get(name)
        if pipeline is None:
            return
        pipeline.stop()

        def start() -> None:
            if pipeline.resources == "Stopped" and not pipeline.deleted:
                self._roll_out(pipeline)
            elif pipeline.resources_desired == "Stopped":
                self._after(0.5, start)

        self._after(0.5, start)


def make_secret(namespace: str, key: str) -> Manifest:
    """A connection Secret."""
    data = {"url": "http://feldera", "api-key": key}
    return {
        "metadata": {"name": SECRET, "namespace": namespace},
        "type": f"{GROUP}/connection",
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items()},
    }


__all__ = ["APPROVE", "REJECT", "GitOps", "Owners", "People", "make_secret"]
