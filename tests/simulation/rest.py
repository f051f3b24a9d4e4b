"""What must be so once nothing disturbs any more: every decision has come to an outcome, and nothing is written."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from simulation.pipelines import Pipeline
from simulation.truth import (
    APPROVE,
    REJECT,
    Manifest,
    age_of,
    digest_of,
    id_of,
    kind_of,
    name_of,
    outputs_of,
    token_of,
)

if TYPE_CHECKING:
    from simulation.world import World

IN_FLIGHT = ("Sending", "Sent")
LONGEST_BACKOFF_SECONDS = 65.0
"""Of the operator's work queue, and of a feed."""
LONGEST_PAUSE_SECONDS = 300.0
"""Back-off, Retry-After and checkpoint pauses stay below this."""
POLLS = 12
RESYNC_SECONDS = 620.0


class RestChecks:
    """Judges a world whose trouble has ended."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.judged = 0

    def settle(self) -> None:
        """Wait as long as may be necessary, complain about what has not come to its end, and about what moves."""
        world = self._world
        interval = world.config.settings.poll_interval_seconds
        end = world.loop.now + LONGEST_PAUSE_SECONDS + POLLS * max(interval, 5.0) + 60.0
        world.run(LONGEST_BACKOFF_SECONDS + POLLS * interval)
        while world.loop.now < end and not self._is_restful(interval):
            pass
        complaints = list(self._find())
        if complaints and all(stale for _, stale in complaints):
            # Only what the watch has missed may take until the next resync.
            world.run(RESYNC_SECONDS)
            complaints = list(self._find())
        for text, _ in complaints:
            world.complain(text)
        if not world.complaints:
            self._judge_calm(POLLS * interval)
        self._judge_strays()

    def _is_restful(self, interval: float) -> bool:
        """Whether nothing is under way any more, and nothing was written for a while."""
        kubernetes = self._world.kubernetes
        version = len(kubernetes.log)
        self._world.run(5 * interval)
        decisions = [it.get("status", {}).get("decision", {}) for it in kubernetes.pipelines.values()]
        under_way = any(it.get("checkpoint") in ("Pending", "Requested") for it in decisions)
        return len(kubernetes.log) == version and not under_way and not list(self._find())

    def _judge_calm(self, seconds: float) -> None:
        """At rest there is one list per poll, and no write at all."""
        world = self._world
        kubernetes, feldera = world.kubernetes, world.feldera
        version, events = len(kubernetes.log), dict(kubernetes.events)
        before = feldera.counts.copy()
        world.run(seconds)
        if len(kubernetes.log) != version:
            names = {change.manifest["metadata"]["name"] for change in kubernetes.log[version:]}
            world.complain(f"{len(kubernetes.log) - version} writes at rest, to {sorted(names)}")
        if kubernetes.events != events:
            world.complain("Events at rest")
        more = feldera.counts - before
        allowed = {"list", "checkpoint_status"}
        if more.keys() - allowed:
            world.complain(f"calls at rest: {dict(more)}")

    def _judge_strays(self) -> None:
        """A call that hit another deployment is reported where the user looks."""
        alive = {it["metadata"]["uid"] for it in self._world.kubernetes.pipelines.values()}
        for stray in self._world.calls.strays:
            uid, decision = stray.attempt.uid, stray.attempt.decision
            outcomes = self._world.statuses.outcomes[(uid, decision["requestId"])]
            if uid in alive and decision["verdict"] == "Approved" and not outcomes & {"Superseded", "Failed"}:
                self._world.complain(
                    f"deployment {stray.deployment.id} was approved by mistake, and told is {outcomes}"
                )
        self._world.counts["strays"] += len(self._world.calls.strays)
        self._world.calls.strays.clear()

    def _find(self) -> Iterator[tuple[str, bool]]:
        """Complaints, each with whether it may be so until the next resync."""
        for key, manifest in sorted(self._world.kubernetes.pipelines.items()):
            if manifest["metadata"].get("deletionTimestamp"):
                continue
            # That an older twin was deleted may have been missed by the watch.
            stale = manifest.get("status", {}).get("state") == "Duplicate" and self._find_older(manifest) is None
            for text in self._judge(manifest):
                yield f"{key[1]} at rest: {text}; its status is {manifest.get('status')}", stale

    def _judge(self, manifest: Manifest) -> Iterator[str]:
        status = manifest.get("status", {})
        pipeline = self._world.feldera.pipelines.get(name_of(manifest))
        self.judged += 1
        connected = next((it["status"] for it in status.get("conditions", []) if it["type"] == "Connected"), None)
        if connected != "True":
            yield f"Connected is {connected}"
            return
        older = self._find_older(manifest)
        if pipeline is None:
            # Without a pipeline nobody can tell that two connections lead to the same.
            if status.get("state") != "NotFound" and not (older and status.get("state") == "Duplicate"):
                yield f"there is no such pipeline, and the state is {status.get('state')}"
            return
        if older is not None:
            if status.get("state") != "Duplicate":
                yield f"{older} is older, and the state is {status.get('state')}"
            return
        yield from self._judge_known(manifest, status, pipeline)

    def _judge_known(self, manifest: Manifest, status: Manifest, pipeline: Pipeline) -> Iterator[str]:
        deployment = pipeline.deployment
        shown = status.get("pipeline", {})
        if shown.get("deploymentId", "") != (deployment.id if deployment else "") or shown.get("id") != pipeline.id:
            yield f"deployment {deployment and deployment.id} is shown as {shown}"
        decision = status.get("decision", {})
        waits = pipeline.status == "AwaitingApproval"
        halted = manifest["spec"].get("suspend", False) or pipeline.desired_status not in ("Running", "Paused")
        if decision.get("outcome") in IN_FLIGHT and not (waits and halted):
            yield "a decision has no outcome"
        if not waits or deployment is None:
            if "request" in status:
                yield f"request {status['request']['id']} is shown, and nothing waits"
            if shown.get("status") != pipeline.status and decision.get("outcome") not in IN_FLIGHT:
                yield f"the pipeline is {pipeline.status}, and shown as {shown.get('status')}"
            return
        outputs = outputs_of(manifest, deployment)
        digest = digest_of(deployment, outputs)
        request = id_of(manifest["metadata"]["uid"], deployment, digest)
        if decision.get("outcome") in IN_FLIGHT:
            return
        if status.get("request", {}).get("id") != request:
            yield f"request {request} waits, and {status.get('request', {}).get('id')} is shown"
            return
        if (outputs == "Silent" and pipeline.concurrent) or manifest["spec"].get("suspend"):
            return
        known = decision.get("requestId") == request
        if known and decision["outcome"] != "Failed" and not halted:
            yield f"request {request} was {decision['verdict']} and waits again"
        approves, rejects = (self._decides(manifest, annotation, request, digest) for annotation in (APPROVE, REJECT))
        refused = (known and decision["outcome"] == "Failed") or pipeline.resources_desired != "Provisioned"
        if approves != rejects and not (approves and halted) and not refused:
            yield f"request {request} waits, and {'approve' if approves else 'reject'} decides it"

    def _decides(self, manifest: Manifest, annotation: str, request: str, digest: str) -> bool:
        token = token_of(manifest, annotation)
        match kind_of(token):
            case "one shot":
                # That an annotation was away for a moment may have been missed.
                word = annotation.rpartition("/")[2]
                handled = manifest.get("status", {}).get("handled", {})
                if token in (handled.get(word), *handled.get(f"{word}Before", ())):
                    return False
                # With "waiting", one that came too early is used up by that.
                return self._world.config.settings.one_shot != "never"
            case "id":
                return token == request
            case "digest":
                return token == digest
        return False

    def _find_older(self, manifest: Manifest) -> str | None:
        for other in self._world.kubernetes.pipelines.values():
            if name_of(other) == name_of(manifest) and age_of(other) < age_of(manifest):
                name: str = other["metadata"]["name"]
                return name
        return None
