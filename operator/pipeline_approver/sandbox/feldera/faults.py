"""Faults and holds as Feldera has them: by HTTP method and operation, for one pipeline or all.

The operation is `list`, `get`, or the last part of the path (`approve`, `stop`, …).
"""

from typing import Any

from aiohttp import web

from pipeline_approver.sandbox import faults
from pipeline_approver.sandbox.faults import Fault, Hold, Match
from pipeline_approver.sandbox.feldera.errors import ApiError

__all__ = ["Fault", "FaultPlan", "Hold", "Match"]


class FaultPlan(faults.FaultPlan):
    """The faults and holds of the simulated Feldera, asked for every request below /v0."""

    def __init__(self) -> None:
        super().__init__(_refuse)

    def add(self, match: Match, *, kind: str, pipeline: str | None = None, **options: Any) -> Fault:
        """Spoil matching requests, about one pipeline or all; the options are the fields of `Fault`."""
        return super().add(match, kind=kind, name=pipeline, **options)

    def hold(
        self, match: Match, *, where: str = "before", name: str | None = None, pipeline: str | None = None
    ) -> Hold:
        """Stop matching requests `before` or `after` they are applied, about one pipeline or all."""
        return super().hold(match, where=where, name=pipeline or name)


def _refuse(fault: Fault) -> web.Response:
    code = fault.code or "PipelineInteractionUnreachable"
    message = fault.message or "Error sending HTTP request to pipeline: simulated fault"
    response = ApiError(fault.status, code, message, retry_after=fault.retry_after).response()
    if fault.status == 401:
        # Feldera's authentication says its JSON as plain text.
        response.content_type = "text/plain"
    return response
