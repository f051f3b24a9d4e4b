"""A Pipeline in every state, as the real rules write it: what tests of GitOps tools look at.

One situation is a way into a state. The same state can be reached on several; a tool must judge all of them alike.
"""

import functools
from collections.abc import Callable
from typing import Any

from pipeline_approver.core.case import Problem
from pipeline_approver.core.settle import Accepted, NotApplied, Progress, Refused, Unsupported
from pipeline_approver.core.statusjson import render_status
from pipeline_approver.sandbox.crd import read_crd
from support.cases import BROKEN, NEXT_DEPLOYMENT, RUNNING, STOPPED, World

GROUP = "pipeline-approver.io"
NOT_LOOKED_AT = ""
"""The state of a Pipeline that the operator has not seen yet, at all or in its present form."""

UNREACHABLE = {"problem": Problem(reason="ConnectionRefused", message="the connection is refused")}
MISCONFIGURED = {"problem": Problem(reason="UrlInvalid", message="the key url is not a url", needs_person=True)}
DUPLICATE = {"duplicate_of": "shop/older"}
PASSING = (
    "Provisioning",
    "Initializing",
    "Replaying",
    "Bootstrapping",
    "ConcurrentBootstrapping",
    "Synchronizing",
    "Coordination",
    "Stopping",
    "Unavailable",
    "Teleporting",
)
"""Feldera's words for a pipeline on its way, and one that Feldera might think of."""
RESTING = ("Stopped", "Standby", "Suspended")
"""Feldera's words for a pipeline that somebody has put to rest."""


def make_manifest(world: World, *, generation: int | None = None) -> dict[str, Any]:
    """The Pipeline of a world as the API server gives it."""
    resource = world.case.resource
    values = {"approve": resource.approve.text, "reject": resource.reject.text}
    status = render_status(world.status) if world.status.conditions else find_default_status()
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "Pipeline",
        "metadata": {
            "name": resource.name,
            "namespace": resource.namespace,
            "uid": resource.uid,
            "resourceVersion": resource.resource_version,
            "generation": resource.generation if generation is None else generation,
            "annotations": {f"{GROUP}/{key}": value for key, value in values.items() if value},
        },
        "spec": {"suspend": resource.suspend},
        **({"status": status} if status else {}),
    }


@functools.cache
def find_default_status() -> dict[str, Any] | None:
    """What the API server shows for a status that nobody has written yet."""
    schema = read_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    default: dict[str, Any] | None = schema["properties"]["status"].get("default")
    return default


def seen(**facts: Any) -> World:
    """Looked at once."""
    world = World(**facts)
    world.step()
    return world


def sending(**facts: Any) -> World:
    """Approved; the answer is not known."""
    world = seen(**facts)
    world.set(approve=world.request_id).step()
    return world


def sent(**facts: Any) -> World:
    """Approved, and Feldera took the call."""
    world = seen(**facts)
    return world.answer(world.set(approve=world.request_id).step(), Accepted())


def bootstrapped(*answers: Any, **facts: Any) -> World:
    """Approved and running; then what Feldera answers about checkpoints."""
    world = sent(**facts).set(**RUNNING)
    for answer in answers:
        world.later(10).answer(world.step(), answer)
    world.step()
    return world


def rejecting(**facts: Any) -> World:
    """Rejected, and Feldera took the call."""
    world = seen(**facts)
    return world.answer(world.set(reject=world.request_id).step(), Accepted())


def then(world: World, **facts: Any) -> World:
    """Looked at once more after something changed."""
    world.set(**facts).step()
    return world


def _refused() -> World:
    world = seen()
    world.answer(world.set(approve=world.request_id).step(), Refused(message="InvalidBootstrapConfig"))
    world.step()
    return world


def _not_sent(**facts: Any) -> World:
    world = seen()
    world.answer(world.set(approve=world.request_id).step(), NotApplied(message="busy"))
    return then(world, **facts)


SITUATIONS: dict[str, Callable[[], World]] = {
    "created": World,
    "created, and Feldera has not answered yet": lambda: seen(view=None),
    "waits": seen,
    "waits, the spec was edited": lambda: then(seen(), generation=4),
    "waits, suspended": lambda: seen(suspend=True),
    "waits, approve and reject at once": lambda: then(seen(), approve="true", reject="true"),
    "waits, a stale id is there": lambda: then(seen(), approve="0123456789ab"),
    "waits, wanted stopped": lambda: seen(desired_status="Stopped"),
    "waits, cannot be silent": lambda: seen(outputs="Silent", concurrent_bootstrap=True),
    "waits, the change is not shown": lambda: seen(diff=None),
    "waits, the program cannot be read": lambda: seen(
        program=None, program_problem=Problem(reason="ProgramUnreadable", message="no")
    ),
    "waits, Feldera's runner does not answer": lambda: then(seen(), status="Unavailable", diff=None),
    "waits again in another deployment": lambda: then(
        bootstrapped(checkpoint="Never"), **NEXT_DEPLOYMENT, status="AwaitingApproval", diff=seen().case.view.diff
    ),
    "waits, Feldera refused the approval": _refused,
    "approved, no answer yet": sending,
    "approved, not taken yet": _not_sent,
    "approved, then suspended before it was sent": lambda: _not_sent(suspend=True),
    "approved, while Feldera still shows the request": lambda: then(sent()),
    "approved and coming up": lambda: then(sent(), status="Bootstrapping", diff=None),
    "approved, then the runner does not answer": lambda: then(sent(), status="Unavailable", diff=None),
    "approved, then stopped": lambda: then(sent(), **STOPPED),
    "approved, then the deployment died": lambda: then(sent(), **STOPPED, deployment_error=BROKEN),
    "approved, then deleted in Feldera": lambda: then(sent(), view=None, absent=True),
    "approved, then started again": lambda: then(sent(), **NEXT_DEPLOYMENT, status="Initializing", diff=None),
    "bootstrapped, a checkpoint was requested": lambda: bootstrapped(Accepted(number=42)),
    "bootstrapped, the checkpoint is complete": lambda: bootstrapped(Accepted(number=42), Progress(success=42)),
    "bootstrapped, the checkpoint failed": lambda: bootstrapped(Accepted(number=42), Progress(failure="disk full")),
    "bootstrapped, no checkpoints in this edition": lambda: bootstrapped(Unsupported(message="no")),
    "bootstrapped, none wanted": lambda: bootstrapped(checkpoint="Never"),
    "rejecting": rejecting,
    "rejecting, being stopped": lambda: then(rejecting(), status="Stopping", diff=None),
    "rejected": lambda: then(rejecting(), **STOPPED),
    "rejected, somebody else approved": lambda: then(rejecting(), **RUNNING),
    "runs": lambda: seen(**RUNNING),
    "runs, armed": lambda: seen(**RUNNING, approve="true"),
    "paused": lambda: seen(status="Paused", diff=None),
    "died": lambda: seen(**STOPPED, deployment_error=BROKEN),
    "not in Feldera": lambda: seen(view=None, absent=True),
    "no connection, nothing known": lambda: seen(view=None, **UNREACHABLE),
    "no connection, waits": lambda: then(seen(), **UNREACHABLE),
    "no connection, in flight": lambda: then(sent(), **UNREACHABLE),
    "no connection, runs": lambda: then(seen(**RUNNING), **UNREACHABLE),
    "misconfigured": lambda: seen(view=None, **MISCONFIGURED),
    "misconfigured while it waits": lambda: then(seen(), **MISCONFIGURED),
    "misconfigured while in flight": lambda: then(sent(), **MISCONFIGURED),
    "duplicate": lambda: seen(**DUPLICATE),
    "duplicate that is in flight": lambda: then(sent(), **DUPLICATE),
    "no word from Feldera": lambda: seen(status="", diff=None),
    **{f"word {word}": lambda word=word: seen(status=word, diff=None) for word in (*PASSING, *RESTING)},
}
"""Every way into every state."""


def find_state(world: World, manifest: dict[str, Any]) -> str:
    """The state that a manifest shows, for somebody who knows which spec it speaks of."""
    observed = manifest.get("status", {}).get("observedGeneration")
    return world.status.state if observed == manifest["metadata"]["generation"] else NOT_LOOKED_AT


def outdate(manifest: dict[str, Any]) -> dict[str, Any]:
    """The same Pipeline right after its spec was edited."""
    metadata = {**manifest["metadata"], "generation": manifest["metadata"]["generation"] + 1}
    return {**manifest, "metadata": metadata}


def with_annotations(manifest: dict[str, Any], **values: str) -> dict[str, Any]:
    """The same Pipeline with further annotations of ours; underscores stand for hyphens."""
    ours = {f"{GROUP}/{key.replace('_', '-')}": value for key, value in values.items()}
    annotations = {**manifest["metadata"].get("annotations", {}), **ours}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}
