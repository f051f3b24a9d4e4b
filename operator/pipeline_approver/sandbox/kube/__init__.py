"""An in-memory Kubernetes API: close enough to a real one for kopf and for kubectl, on a loopback port."""

from pipeline_approver.sandbox.faults import Fault, FaultPlan, Hold
from pipeline_approver.sandbox.kube.errors import ApiError
from pipeline_approver.sandbox.kube.gate import RequestRecord
from pipeline_approver.sandbox.kube.server import KubeServer

__all__ = ["ApiError", "Fault", "FaultPlan", "Hold", "KubeServer", "RequestRecord"]
