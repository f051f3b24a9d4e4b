"""What kstatus and the API conventions ask of conditions."""

import re
from collections.abc import Iterator

from simulation.truth import Manifest

CONDITIONS = {"Ready", "Connected", "ApprovalRequired", "CheckpointDurable", "Reconciling", "Stalled"}
WORD = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")


def judge_conditions(manifest: Manifest, before: Manifest, after: Manifest) -> Iterator[str]:
    """Complain about the conditions of a status that was just written."""
    conditions = {condition["type"]: condition for condition in after.get("conditions", [])}
    old = {condition["type"]: condition for condition in before.get("conditions", [])}
    if len(conditions) != len(after.get("conditions", [])) or not conditions.keys() <= CONDITIONS:
        yield f"the conditions are {[it['type'] for it in after.get('conditions', [])]}"
    if "Ready" not in conditions:
        yield "there is no Ready"
        return
    generation = after.get("observedGeneration")
    if generation != manifest["metadata"]["generation"]:
        yield f"observedGeneration {generation} is not the one that was written to"
    for type_, condition in conditions.items():
        if condition["status"] not in ("True", "False", "Unknown") or not WORD.fullmatch(condition["reason"]):
            yield f"condition {type_} is {condition['status']}/{condition['reason']!r}"
        if type_ in ("Reconciling", "Stalled") and condition["status"] != "True":
            yield f"{type_} is there and {condition['status']}"
        if condition["observedGeneration"] != generation:
            yield f"condition {type_} speaks of generation {condition['observedGeneration']}"
        known = old.get(type_)
        if (
            known
            and known["status"] == condition["status"]
            and known["lastTransitionTime"] != condition["lastTransitionTime"]
        ):
            yield f"condition {type_} has a new time and the old status"
    if conditions["Ready"]["status"] == "True" and conditions.keys() & {"Reconciling", "Stalled"}:
        yield "Ready is True, and the Pipeline is not at rest"
    waits = conditions.get("ApprovalRequired", {}).get("status") == "True"
    if waits and "request" not in after:
        yield "approval is required, and there is no request"
