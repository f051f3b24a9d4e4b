"""Argo CD's side of resource customisations: it runs the Lua of argocd-cm on a live object.

As Argo CD does it (util/lua and server/application): Lua 5.1 with the libraries base, table and os only, unless
useOpenLibs is set; the object as the global `obj`; what comes back as JSON, where an empty table is an empty list; and
for an action a JSON merge patch of the difference, split into one for the status and one for the rest.
"""

import copy
import json
from typing import Any

import yaml
from lupa import lua51

from pipeline_approver.core.statusjson import build_merge_patch

KEY = "pipeline-approver.io_Pipeline"
HEALTH_WORDS = ("Healthy", "Suspended", "Progressing", "Degraded", "Missing", "Unknown")


class ActionFailed(Exception):
    """The Lua of an action raised an error; the message is what the user sees."""


class ArgoCD:
    """Customisations as they stand in a ConfigMap argocd-cm."""

    def __init__(self, config_map: dict[str, Any]) -> None:
        assert config_map["metadata"]["name"] == "argocd-cm"
        data = config_map["data"]
        self.health_lua: str = data[f"resource.customizations.health.{KEY}"]
        assert f"resource.customizations.useOpenLibs.{KEY}" not in data
        actions = yaml.safe_load(data[f"resource.customizations.actions.{KEY}"])
        self.discovery_lua: str = actions["discovery.lua"]
        self.action_lua: dict[str, str] = {entry["name"]: entry["action.lua"] for entry in actions["definitions"]}

    def judge(self, manifest: dict[str, Any]) -> tuple[str, str]:
        """The health and its message."""
        answer = _run(self.health_lua, manifest)
        assert answer["status"] in HEALTH_WORDS
        return answer["status"], answer["message"]

    def discover(self, manifest: dict[str, Any]) -> set[str]:
        """The actions that can be used."""
        answer = _run(self.discovery_lua, manifest)
        assert set(answer) == set(self.action_lua)
        return {name for name, action in answer.items() if not action["disabled"]}

    def act(self, name: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """The merge patch that an action amounts to; it must leave the status alone."""
        try:
            answer = _run(self.action_lua[name], manifest)
        except lua51.LuaError as error:
            raise ActionFailed(str(error)) from None
        patch = build_merge_patch(manifest, _restore_empty_maps(answer, manifest))
        assert "status" not in patch, "Argo CD would write the status"
        return patch


def _run(script: str, manifest: dict[str, Any]) -> Any:
    runtime = lua51.LuaRuntime(register_eval=False, register_builtins=False, unpack_returned_tuples=True)
    # No string library means no methods on strings either.
    runtime.execute("getmetatable('').__index = nil")
    for library in ("string", "math", "io", "debug", "coroutine", "python"):
        runtime.globals()[library] = None
    runtime.globals()["obj"] = _to_lua(runtime, manifest)
    return _from_lua(runtime.execute(script))


def _to_lua(runtime: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return runtime.table_from({key: _to_lua(runtime, inner) for key, inner in value.items() if inner is not None})
    if isinstance(value, list):
        return runtime.table_from([_to_lua(runtime, inner) for inner in value])
    return value


def _from_lua(value: Any) -> Any:
    """As gopher-json writes it: keys 1 to n make a list, no keys at all as well."""
    if lua51.lua_type(value) != "table":
        return json.loads(json.dumps(value))
    items = dict(value.items())
    if set(items) == set(range(1, len(items) + 1)):
        return [_from_lua(items[index]) for index in range(1, len(items) + 1)]
    assert all(isinstance(key, str) for key in items), "a table with mixed keys cannot be encoded"
    return {key: _from_lua(inner) for key, inner in items.items()}


def _restore_empty_maps(new: Any, old: Any) -> Any:
    """A map that came back as an empty list counts as unchanged: so a script cannot empty one."""
    if isinstance(new, dict) and isinstance(old, dict):
        return {key: _restore_empty_maps(inner, old.get(key)) for key, inner in new.items()}
    if new == [] and isinstance(old, dict):
        return copy.deepcopy(old)
    if isinstance(new, list) and isinstance(old, list):
        pairs = zip(new, old, strict=False)
        return [_restore_empty_maps(inner, before) for inner, before in pairs] + new[len(old) :]
    return new
