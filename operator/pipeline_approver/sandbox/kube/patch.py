"""Patches: JSON merge patch (RFC 7386) and JSON patch (RFC 6902).

A strategic merge patch is treated as a merge patch: custom resources know no other, and the lists of the few built-in
kinds here are not what anybody patches.
"""

from typing import Any

import jsonpatch

from pipeline_approver.sandbox.kube.errors import ApiError
from pipeline_approver.sandbox.kube.kinds import Object

JSON_PATCH = "application/json-patch+json"
MERGE_PATCHES = frozenset({"application/merge-patch+json", "application/strategic-merge-patch+json"})
APPLY_PATCHES = frozenset({"application/apply-patch+yaml", "application/apply-patch+json"})


def merge(target: Any, patch: Any) -> Any:
    """The target with a merge patch applied; neither is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def apply_json_patch(target: Object, operations: Any) -> Object:
    """The target with a JSON patch applied; raises 400 for what is no patch and 422 for one that does not fit."""
    if not isinstance(operations, list):
        raise ApiError(400, "json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    try:
        patched = jsonpatch.JsonPatch(operations).apply(target)
    except (jsonpatch.InvalidJsonPatch, TypeError) as error:
        raise ApiError(400, f"this is not a JSON patch: {error}") from None
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise _unfit(str(error)) from None
    if not isinstance(patched, dict):
        raise _unfit("the result is not an object")
    return patched


def _unfit(why: str) -> ApiError:
    return ApiError(
        422,
        "the server rejected our request due to an error in our request",
        details={"causes": [{"reason": "UnexpectedServerResponse", "message": why}]},
    )
