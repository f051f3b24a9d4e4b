"""A simulated Feldera: its REST API, its slow observation of the truth, and its traps, in memory on a loopback port."""

from pipeline_approver.sandbox.feldera.diffs import pipeline_diff
from pipeline_approver.sandbox.feldera.faults import Fault, FaultPlan, Hold
from pipeline_approver.sandbox.feldera.model import SimPipeline
from pipeline_approver.sandbox.feldera.records import ApprovalRecord, RequestRecord, StopRecord
from pipeline_approver.sandbox.feldera.server import FelderaServer

__all__ = [
    "ApprovalRecord",
    "Fault",
    "FaultPlan",
    "FelderaServer",
    "Hold",
    "RequestRecord",
    "SimPipeline",
    "StopRecord",
    "pipeline_diff",
]
