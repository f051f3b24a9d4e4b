"""pipeline-approver: a Kubernetes operator that approves Feldera pipeline changes."""

__version__ = "0.1.0"
