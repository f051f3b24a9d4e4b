"""What Feldera says, as a test writes it down."""

import base64
from typing import Any

import trustme

from pipeline_approver.feldera.connection import SECRET_TYPE

KEY = "apikey:" + "Zq7" * 20
NOW = 1_795_435_200.0
"""2026-11-23T12:00:00Z in seconds."""


def build_row(**fields: Any) -> dict[str, Any]:
    """A row as Feldera gives it: a pipeline that waits for approval."""
    diff = {
        "program_diff": {
            f"{verb}_{noun}": ["v"] if (verb, noun) == ("added", "views") else []
            for noun in ("tables", "views")
            for verb in ("added", "removed", "modified")
        },
        "program_diff_error": None,
        **{
            f"{verb}_{kind}_connectors": [] for kind in ("input", "output") for verb in ("added", "removed", "modified")
        },
    }
    return {
        "id": "0198c0de-0000-7000-8000-000000000001",
        "name": "orders",
        "deployment_id": "0199c0de-0000-7000-8000-000000000001",
        "program_version": 7,
        "platform_version": "0.337.0",
        "deployment_status": "AwaitingApproval",
        "deployment_desired_status": "Running",
        "deployment_resources_status": "Provisioned",
        "deployment_resources_desired_status": "Provisioned",
        "silent_bootstrap": False,
        "concurrent_bootstrap": False,
        "deployment_error": None,
        "deployment_runtime_status_details": {"approval_diff": diff},
        **fields,
    }


CA = trustme.CA()
PEM = CA.cert_pem.bytes().decode()
PRIVATE = CA.private_key_pem.bytes().decode()


def build_secret(**values: str | bytes) -> dict[str, Any]:
    """A connection Secret as the API server gives it."""
    names = {"api_key": "api-key", "ca": "ca.crt"}
    encoded = {
        names.get(key, key): base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
        for key, value in values.items()
    }
    return {"kind": "Secret", "metadata": {"name": "feldera"}, "type": SECRET_TYPE, "data": encoded}
