"""The calls that carry a decision out, and what Feldera's errors mean for it."""

import datetime
import logging
from collections.abc import Callable

from pipeline_approver.core import requests
from pipeline_approver.core.case import Act, ReadCheckpoint
from pipeline_approver.core.change import Outputs
from pipeline_approver.core.observation import PipelineView, Program
from pipeline_approver.core.settle import (
    Accepted,
    Ambiguous,
    Answer,
    NotApplied,
    OtherProcess,
    Progress,
    Refused,
    Unsupported,
)
from pipeline_approver.core.status import Verdict
from pipeline_approver.feldera import errors
from pipeline_approver.feldera.client import FelderaClient

log = logging.getLogger(__name__)


async def read_fresh(client: FelderaClient, name: str) -> PipelineView | NotApplied | None:
    """The pipeline as Feldera shows it now; None when it does not exist; why not, when it cannot be read."""
    try:
        return await client.get_pipeline(name)
    except errors.NotFound:
        return None
    except errors.FelderaError as error:
        return _not_applied(error)


async def send(
    client: FelderaClient,
    act: Act,
    *,
    name: str,
    program: Program | None,
    in_time: Callable[[], bool],
    learn: Callable[[PipelineView | None], None],
    count: Callable[[Answer], None],
) -> Answer:
    """Verify, then call. `in_time` is asked last: a process that was held up must not act on what it knew.

    `count` is told what became of a call that was made.
    """
    view = await read_fresh(client, name)
    if isinstance(view, NotApplied):
        return view
    learn(view)
    objection = requests.verify(act, view, program)
    if objection or view is None:
        return NotApplied(message=f"not sent: {objection}")
    if not in_time():
        return NotApplied(message="not sent: the operator was held up or has lost its lease")
    answer = await _call(client, act, name, concurrent=view.concurrent_bootstrap)
    count(answer)
    return answer


async def _call(client: FelderaClient, act: Act, name: str, *, concurrent: bool) -> Answer:
    try:
        if act.verdict is Verdict.REJECTED:
            await client.stop(name)
            return Accepted()
        approval = await client.approve(name, silent=act.outputs is Outputs.SILENT, concurrent=concurrent)
    except errors.FelderaError as error:
        return _explain(error)
    return Accepted(number=approval.checkpoint_sequence_number, incarnation=approval.incarnation or "")


async def request_checkpoint(client: FelderaClient, name: str) -> Answer:
    """Ask for a checkpoint."""
    try:
        checkpoint = await client.request_checkpoint(name)
    except errors.FelderaError as error:
        return _explain(error)
    return Accepted(number=checkpoint.number, incarnation=checkpoint.incarnation or "")


async def read_checkpoint(client: FelderaClient, name: str, action: ReadCheckpoint) -> Answer:
    """Ask how far a checkpoint is."""
    try:
        progress = await client.checkpoint_status(name, incarnation=action.incarnation or None)
    except errors.Refused as error:
        return OtherProcess() if error.code == "IncarnationUuidMismatch" else NotApplied(message=str(error))
    except errors.FelderaError as error:
        return NotApplied(message=str(error))
    failed = progress.failed_number == action.number
    return Progress(success=progress.success, failure=progress.failure or "unknown error" if failed else None)


def _explain(error: errors.FelderaError) -> Answer:
    if isinstance(error, errors.Unsupported):
        return Unsupported(message=str(error))
    if isinstance(error, errors.Refused):
        return Refused(message=str(error))
    return Ambiguous(message=str(error)) if error.applied is None else _not_applied(error)


def _not_applied(error: errors.FelderaError) -> NotApplied:
    retry_after = None if error.retry_after is None else datetime.timedelta(seconds=error.retry_after)
    return NotApplied(message=str(error), retry_after=retry_after)
