"""What a CustomResourceDefinition becomes: a kind that is served at once, and a status that says so."""

from collections.abc import Mapping
from typing import Any

from pipeline_approver.sandbox.kube import ages, jsonpath
from pipeline_approver.sandbox.kube.columns import AGE, NAME
from pipeline_approver.sandbox.kube.errors import Cause, invalid_value, required
from pipeline_approver.sandbox.kube.kinds import Column, Kind, Object
from pipeline_approver.sandbox.kube.schema import Schema


def check_definition(_: Object | None, definition: Object) -> list[Cause]:
    """What is wrong with a definition. Only one served version is possible here: nothing converts between two."""
    spec = definition.get("spec") or {}
    names = spec.get("names") or {}
    causes = [required(f"spec.{key}") for key in ("group", "scope") if not spec.get(key)]
    causes += [required(f"spec.names.{key}") for key in ("plural", "kind") if not names.get(key)]
    if causes:
        return causes
    name = definition["metadata"]["name"]
    if name != f"{names['plural']}.{spec['group']}":
        causes.append(invalid_value("metadata.name", f'"{name}"', 'must be spec.names.plural+"."+spec.group'))
    served = [version for version in spec.get("versions") or () if version.get("served")]
    if len(served) != 1:
        causes.append(invalid_value("spec.versions", str(len(served)), "this server serves exactly one version"))
    for number, version in enumerate(spec.get("versions") or ()):
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            causes.append(required(f"spec.versions[{number}].schema.openAPIV3Schema", "schemas are required"))
        for place, column in enumerate(version.get("additionalPrinterColumns") or ()):
            try:
                jsonpath.compile_path(str(column.get("jsonPath")))
            except ValueError as error:
                field = f"spec.versions[{number}].additionalPrinterColumns[{place}].jsonPath"
                causes.append(invalid_value(field, repr(column.get("jsonPath")), str(error)))
    return causes


def build_kind(definition: Object) -> Kind:
    """The kind that a checked definition stands for."""
    spec = definition["spec"]
    names = spec["names"]
    version = next(version for version in spec["versions"] if version.get("served"))
    columns = version.get("additionalPrinterColumns")
    return Kind(
        group=spec["group"],
        version=version["name"],
        plural=names["plural"],
        kind=names["kind"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        has_status="status" in (version.get("subresources") or {}),
        is_custom=True,
        counts_generation=True,
        allows_blind_update=False,
        columns=(NAME, *(map(_build_column, columns) if columns else (AGE,))),
        selectable=frozenset(field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or ()),
        schema=Schema(version["schema"]["openAPIV3Schema"]),
    )


def establish(definition: Object) -> Object:
    """The definition with the status that the controllers of a cluster would give it."""
    spec = definition["spec"]
    names = spec["names"]
    names = {
        **names,
        "singular": names.get("singular") or names["kind"].lower(),
        "listKind": names.get("listKind") or f"{names['kind']}List",
    }
    at = ages.now()
    conditions = [
        {
            "type": "NamesAccepted",
            "status": "True",
            "reason": "NoConflicts",
            "message": "no conflicts found",
            "lastTransitionTime": at,
        },
        {
            "type": "Established",
            "status": "True",
            "reason": "InitialNamesAccepted",
            "message": "the initial names have been accepted",
            "lastTransitionTime": at,
        },
    ]
    known = (definition.get("status") or {}).get("conditions")
    status = {
        "acceptedNames": names,
        "conditions": known or conditions,
        "storedVersions": [version["name"] for version in spec["versions"] if version.get("storage")],
    }
    return {**definition, "spec": {**spec, "names": names}, "status": status}


def _build_column(source: Mapping[str, Any]) -> Column:
    read = jsonpath.compile_path(source["jsonPath"])
    kind = source.get("type", "string")

    def show(object_: Object) -> Any:
        value = read(object_)
        if value is None:
            return None
        if kind == "date":
            return ages.age(value)
        return value if kind in ("integer", "number", "boolean") or isinstance(value, str) else _plain(value)

    return Column(
        name=source["name"],
        type=kind,
        format=source.get("format", ""),
        description=source.get("description", ""),
        priority=source.get("priority", 0),
        read=show,
    )


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
