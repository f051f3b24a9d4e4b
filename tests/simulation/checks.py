"""The invariants of the status: looked at with every write, which is whenever they could come to be broken."""

import collections
from collections.abc import Callable, Iterator
from typing import Any

from simulation.conditions import judge_conditions
from simulation.deployments import Deployment
from simulation.feldera import Feldera
from simulation.kubernetes import Write
from simulation.truth import (
    APPROVE,
    REJECT,
    Manifest,
    TokenBook,
    digests_of,
    id_of,
    kind_of,
    name_of,
    outputs_of,
    token_of,
)

IN_FLIGHT = ("Sending", "Sent")


class StatusChecks:
    """Judges every status that the operator writes."""

    def __init__(self, feldera: Feldera, tokens: TokenBook, one_shot: str, complain: Callable[[str], None]) -> None:
        self._feldera = feldera
        self._tokens = tokens
        self._one_shot = one_shot
        self._complain = complain
        self.refused: set[tuple[str, str, str]] = set()
        """Decisions (uid, request, verdict) that Feldera refused."""
        self.taken: set[tuple[str, str, str]] = set()
        """Decisions that Feldera took."""
        self.outcomes: dict[tuple[str, str], set[str]] = collections.defaultdict(set)
        """What was ever told of a request (uid, id); the history forgets."""
        self.requests: set[str] = set()
        """Ids of requests that were shown or decided, all of them judged."""
        self.counts: collections.Counter[str] = collections.Counter()
        """Writes, decisions by verdict, and outcomes."""

    def judge(self, write: Write) -> None:
        """Complain about whatever a write breaks."""
        where = f"{write.after['metadata']['name']} ({write.operator.name})"
        for complaint in self._find(write):
            self._complain(f"{where}: {complaint}")

    def _find(self, write: Write) -> Iterator[str]:
        before, after = write.before.get("status", {}), write.after.get("status", {})
        self.counts["writes"] += 1
        if before == after:
            yield "a write changes nothing"
        yield from self._judge_history(before, after)
        yield from judge_conditions(write.after, before, after)
        yield from self._judge_request(write.after, after)
        yield from self._judge_ignored(after)
        yield from self._judge_withdrawal(write.after, before, after)
        old, new = before.get("decision"), after.get("decision")
        if new is not None and (old is None or identity(old) != identity(new)):
            yield from self._judge_fresh(write.before, before, new)
        elif old is not None and new is None:
            yield "the recorded decision is gone"
        yield from self._judge_tokens(write.before, before, after)
        if new is not None and (old is None or old["outcome"] != new["outcome"]):
            self.outcomes[(write.after["metadata"]["uid"], new["requestId"])].add(new["outcome"])
            yield from self._judge_outcome(write.after, new)
        yield from self._judge_checkpoint(before, after)

    def _judge_history(self, before: Manifest, after: Manifest) -> Iterator[str]:
        old, new = before.get("history", []), after.get("history", [])
        if new == old:
            return
        if new[:-1] != old[-9:] and new[:-1] != old:
            yield f"the history was changed, not only added to: {old} became {new}"
        if len(new) > 10:
            yield "the history is longer than ten"
        entry, decision = new[-1], after.get("decision", {})
        if any(entry.get(key) != decision.get(key) for key in ("requestId", "verdict", "outcome", "at", "by")):
            yield f"the history got an entry that is not the decision's: {entry}"
        if entry["outcome"] in IN_FLIGHT:
            yield "a decision in flight is history"

    def _judge_request(self, manifest: Manifest, after: Manifest) -> Iterator[str]:
        request = after.get("request")
        if request is None:
            return
        deployment = self._feldera.world.deployments.get(after.get("pipeline", {}).get("deploymentId", ""))
        if deployment is None or not deployment.waited_at:
            yield f"request {request['id']} is shown, and nothing ever waited"
            return
        self.requests.add(request["id"])
        digests = digests_of(deployment, request["outputs"])
        id_ = id_of(manifest["metadata"]["uid"], deployment, request["digest"])
        if request["digest"] not in digests or request["id"] != id_:
            yield f"request {request['id']} is not what deployment {deployment.id} waits for"
        for entry in after.get("ignored", []):
            if entry["reason"] in ("UnknownRequest", "StaleRequest") and entry["value"] == request["id"]:
                yield f"the id of the request that waits is called {entry['reason']}"

    def _judge_withdrawal(self, manifest: Manifest, before: Manifest, after: Manifest) -> Iterator[str]:
        """A request that nobody has decided does not go away while it waits."""
        request = before.get("request")
        deployment = self._feldera.world.deployments.get(before.get("pipeline", {}).get("deploymentId", ""))
        if request is None or "request" in after or deployment is None or after["state"] == "Duplicate":
            return
        if after.get("decision", {}).get("requestId") == request["id"] or deployment.name != name_of(manifest):
            return
        pipeline = self._feldera.pipelines.get(deployment.name)
        always_waited = len(deployment.waited_at) == 1 and not deployment.left_at and deployment.ended_at is None
        if always_waited and pipeline is not None and pipeline.status in ("AwaitingApproval", "Unavailable"):
            yield f"request {request['id']} is taken away while it waits"

    def _judge_ignored(self, after: Manifest) -> Iterator[str]:
        decision = after.get("decision", {})
        if decision.get("outcome") not in IN_FLIGHT:
            return
        word = "approve" if decision["verdict"] == "Approved" else "reject"
        for entry in after.get("ignored", []):
            if (entry["annotation"], entry["reason"]) == (word, "UsedUp"):
                yield f"{word}={entry['value']} is called ignored, and what it decided is being carried out"

    def _judge_fresh(self, manifest: Manifest, before: Manifest, decision: Manifest) -> Iterator[str]:
        """A decision that was not there before: somebody must have made it, about what waits."""
        uid, request = manifest["metadata"]["uid"], decision["requestId"]
        self.requests.add(request)
        self.counts[f"decided {decision['verdict']} by {kind_of(self._find_token(manifest, decision))}"] += 1
        deployment = self._feldera.world.deployments.get(decision["deploymentId"])
        if deployment is None or not deployment.waited_at or deployment.name != name_of(manifest):
            yield f"request {request} was decided, and nothing waited"
            return
        digests = digests_of(deployment, decision["outputs"])
        if decision["digest"] not in digests or request != id_of(uid, deployment, decision["digest"]):
            yield f"what was decided as {request} is not what deployment {deployment.id} waits for"
        if decision["outputs"] != outputs_of(manifest, deployment):
            yield f"request {request} was decided with outputs {decision['outputs']}, which nobody asked for"
        approves, rejects = (self._decides(manifest, before, note, decision) for note in (APPROVE, REJECT))
        wanted = approves if decision["verdict"] == "Approved" else rejects
        annotation = APPROVE if decision["verdict"] == "Approved" else REJECT
        token = token_of(manifest, annotation)
        if not wanted:
            yield f"request {request} was {decision['verdict']}, and {annotation}={token!r} does not say so"
        other = REJECT if annotation is APPROVE else APPROVE
        if approves and rejects and not _is_recorded_as_used(manifest, before, other):
            yield f"request {request} was decided while approve and reject contradict each other"
        if why := self._tokens.use(uid, annotation, request):
            yield why
        if manifest["spec"].get("suspend"):
            yield f"request {request} was decided while suspended"
        if manifest["metadata"].get("deletionTimestamp"):
            yield f"request {request} was decided while the Pipeline was being deleted"
        if decision["by"].get("manager", "") != _find_manager(manifest, annotation):
            yield f"request {request} was decided by {_find_manager(manifest, annotation)}, not {decision['by']}"
        in_flight = before.get("decision", {})
        if in_flight.get("outcome") in IN_FLIGHT:
            yield f"request {request} was decided while {in_flight['requestId']} was under way"

    @staticmethod
    def _find_token(manifest: Manifest, decision: Manifest) -> str:
        return token_of(manifest, APPROVE if decision["verdict"] == "Approved" else REJECT)

    def _decides(self, manifest: Manifest, before: Manifest, annotation: str, decision: Manifest) -> bool:
        token = token_of(manifest, annotation)
        match kind_of(token):
            case "id":
                return token == decision["requestId"]
            case "digest":
                return token == decision["digest"]
            case "one shot":
                if self._one_shot == "never":
                    return False
                if self._one_shot == "waiting" and before.get("request", {}).get("id") != decision["requestId"]:
                    return False
                return not self._tokens.is_used(manifest["metadata"]["uid"], annotation)
        return False

    def _judge_tokens(self, manifest: Manifest, before: Manifest, after: Manifest) -> Iterator[str]:
        uid = manifest["metadata"]["uid"]
        for annotation in (APPROVE, REJECT):
            word = annotation.rpartition("/")[2]
            old, new = (status.get("handled", {}).get(word, "") for status in (before, after))
            if new == old:
                continue
            token = token_of(manifest, annotation)
            if new and new != token:
                yield f"{word}={new} is used up, and it is not set"
            elif new:
                if not self._tokens.is_used(uid, annotation):
                    self._tokens.spend(uid, annotation)
                    if self._one_shot != "waiting":
                        yield f"{word}={new} was used up and decided nothing"
            elif not self._tokens.is_fresh(uid, annotation):
                yield f"{word}={old} was used up, was not taken away, and counts again"

    def _judge_outcome(self, manifest: Manifest, decision: Manifest) -> Iterator[str]:
        key = (manifest["metadata"]["uid"], decision["requestId"], decision["verdict"])
        deployment: Deployment = self._feldera.world.deployments[decision["deploymentId"]]
        deleted = any(it.id == deployment.pipeline_id for it in self._feldera.deleted)
        approved = decision["verdict"] == "Approved"
        self.counts[f"outcome {decision['outcome']}"] += 1
        match decision["outcome"]:
            case "Sent":
                is_true = key in self.taken or bool(deployment.left_at)
            case "Bootstrapped":
                is_true = approved and deployment.came_up_at is not None
            case "Stopped":
                is_true = not approved and deployment.ended_at is not None
            case "Failed":
                # Stopped pipelines show an error, and do not show whose it is.
                later = [
                    it for it in self._feldera.world.deployments.values() if it.pipeline_id == deployment.pipeline_id
                ]
                is_true = key in self.refused or any(it.error for it in later if it.id >= deployment.id)
            case "Superseded":
                # The process may have been started again from another state, and have found another change.
                other = deleted or len(deployment.diffs) > 1 or (not approved and bool(deployment.left_at))
                # Or the Pipeline was made to stand for another one.
                other = other or deployment.name != manifest["spec"].get("pipelineName", manifest["metadata"]["name"])
                is_true = deployment.ended_at is not None or other
            case _:
                return
        if not is_true:
            yield f"the outcome of {decision['requestId']} is {decision['outcome']}, and that did not happen"

    def _judge_checkpoint(self, before: Manifest, after: Manifest) -> Iterator[str]:
        number, incarnation = after.get("checkpoint_sequence_number"), after.get("checkpointIncarnation", "")
        if number is None:
            return
        states = {
            state
            for (_, process, known), state in self._feldera.world.numbers.items()
            if known == number and incarnation in ("", process)
        }
        if number != before.get("checkpoint_sequence_number") and not states:
            yield f"checkpoint {number} of {incarnation or 'any process'} was never requested"
        step, old = (status.get("decision", {}).get("checkpoint") for status in (after, before))
        if step == "Durable" and old != "Durable" and "complete" not in states:
            yield f"checkpoint {number} is called complete, and it is {states or 'unknown'}"


def identity(decision: Manifest) -> tuple[Any, ...]:
    """What makes a decision the same one."""
    return decision["requestId"], decision["verdict"], decision["at"]


def _is_recorded_as_used(manifest: Manifest, before: Manifest, annotation: str) -> bool:
    """Whether the status still calls the value used up: nobody saw that it was taken away and set anew."""
    handled, word = before.get("handled", {}), annotation.rpartition("/")[2]
    return token_of(manifest, annotation) in (handled.get(word), *handled.get(f"{word}Before", ()))


def _find_manager(manifest: Manifest, annotation: str) -> str:
    for entry in manifest["metadata"]["managedFields"]:
        if f"f:{annotation}" in entry["fieldsV1"]["f:metadata"]["f:annotations"]:
            manager: str = entry["manager"]
            return manager
    return ""
