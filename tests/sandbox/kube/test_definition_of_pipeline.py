"""Every constraint of our definition, on both servers: the value that just fits is kept, the next one is refused."""

from typing import Any

import pytest

from pipeline_approver.core import statusjson
from pipeline_approver.sandbox.crd import read_crd
from support import cel
from support.definition import Case, cases, walk
from support.fullest import FULLEST_SPEC, fullest_status
from support.rawkube import RawKube

SCHEMA: dict[str, Any] = read_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
FULLEST: dict[str, Any] = {
    "apiVersion": "pipeline-approver.io/v1alpha1",
    "kind": "Pipeline",
    "metadata": {"name": "orders"},
    "spec": FULLEST_SPEC,
    "status": statusjson.render_status(fullest_status()),
}


def pipelines(api: RawKube) -> str:
    return f"/apis/pipeline-approver.io/v1alpha1/namespaces/{api.namespace}/pipelines"


async def put(api: RawKube, case: Case, part: str) -> Any:
    path = f"{pipelines(api)}/orders{'/status' if part == 'status' else ''}"
    return await api.call("PUT", path, case.resource)


@pytest.mark.parametrize("part", ["spec", "status"])
async def test_what_fits_is_kept_and_what_does_not_is_refused(api: RawKube, part: str) -> None:
    created = await api.call("POST", pipelines(api), FULLEST)
    version = created.object["metadata"]["resourceVersion"]
    good, bad = cases(SCHEMA, FULLEST, part)
    wrong = []
    for case in bad:
        case.resource["metadata"]["resourceVersion"] = version
        answer = await put(api, case, part)
        if answer.status != 422:
            wrong.append(f"{case}: accepted")
        # Old servers stop at the first mistake in a list, and name the list.
        elif not any(field.startswith(api.as_named(case.field).split("[")[0]) for field in answer.causes):
            wrong.append(f"{case}: {answer.causes}")
    for case in good:
        case.resource["metadata"]["resourceVersion"] = version
        answer = await put(api, case, part)
        if answer.status != 200:
            wrong.append(f"{case}: {answer.body}")
            continue
        version = answer.body["metadata"]["resourceVersion"]
        if answer.body[part] != case.resource[part]:
            wrong.append(f"{case}: not kept as it was")
    assert wrong == []
    assert (len(good), len(bad)) > (10, 10)


def test_every_constraint_of_the_definition_has_a_case() -> None:
    """Also a constraint that nobody thought of here."""
    known = {"type", "description", "properties", "items", "default", "required", "enum", "pattern", "format"} | {
        *("minLength", "maxLength", "minimum", "maxItems", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
        *("x-kubernetes-map-type", "x-kubernetes-validations"),
    }
    reached = set()
    for path, field in walk(SCHEMA, FULLEST):
        assert set(field) <= known, path
        reached.add(".".join("[]" if isinstance(step, int) else step for step in path).replace(".[]", "[]"))
    everything = set(fields(SCHEMA))
    assert everything - reached == {"status.decision.by.policy"}, "only policies will write that one"


def fields(schema: dict[str, Any], path: str = "") -> list[str]:
    found = [path]
    for name, inner in schema.get("properties", {}).items():
        found += fields(inner, f"{path}.{name}".lstrip("."))
    return found + (fields(schema["items"], f"{path}[]") if "items" in schema else [])


RULE = SCHEMA["x-kubernetes-validations"][0]
NAMED = {"pipelineName": "Orders_2"}
NAMES: list[tuple[str, dict[str, Any], bool]] = [
    ("orders", {}, True),
    ("a" * 100, {}, True),
    ("orders.v2", NAMED, True),
    ("a" * 101, NAMED, True),
    ("orders.v2", {}, False),
    ("a" * 101, {}, False),
    ("orders.v2", {"suspend": True}, False),
]


def test_the_definition_has_one_rule_and_all_others_are_structural() -> None:
    assert [field for _, field in walk(SCHEMA, FULLEST) if "x-kubernetes-validations" in field] == [SCHEMA]
    assert SCHEMA["x-kubernetes-validations"] == [RULE]


@pytest.mark.parametrize(("name", "spec", "fits"), NAMES)
def test_a_name_that_feldera_cannot_have_needs_another(name: str, spec: dict[str, Any], fits: bool) -> None:
    for resource in ({"metadata": {"name": name}, "spec": spec}, *([] if spec else [{"metadata": {"name": name}}])):
        assert cel.Evaluator().evaluate(RULE["rule"], {"self": resource}) is fits


@pytest.mark.parametrize("site", [pytest.param("real", marks=pytest.mark.e2e)], indirect=True)
async def test_a_real_server_judges_names_alike(api: RawKube) -> None:
    api.needs((1, 25), "CEL rules in definitions")
    for name, spec, fits in NAMES:
        manifest = {**FULLEST, "metadata": {"name": name}, "spec": spec}
        answer = await api.call("POST", pipelines(api), manifest, dryRun="All")
        assert (answer.status == 201) is fits, (name, answer.body)
        assert fits or RULE["message"] in answer.body["message"]
