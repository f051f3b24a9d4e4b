"""A pipeline that asks for approval, and a Pipeline that shows it."""

from typing import Any

from pipeline_approver.sandbox.feldera import pipeline_diff
from support.stage import Stage

REEMITS = pipeline_diff(modified_views=["totals"], added_views=["daily"])


async def waiting(stage: Stage, name: str = "orders", **spec: Any) -> dict[str, Any]:
    """A Pipeline whose request stands in the status; the request."""
    if name not in stage.feldera.pipelines:
        stage.feldera.add(name, state="AwaitingApproval", diff=REEMITS)
    stage.create(name, **spec)
    return await stage.request(name)
