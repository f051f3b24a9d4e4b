"""The schema of a definition: what is refused, pruned and filled in."""

from typing import Any

import pytest

from support.rawkube import API, RawKube, until, widget


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"size": "two"}, ["spec.size"]),
        ({"size": 1.5}, ["spec.size"]),
        ({"size": True}, ["spec.size"]),
        ({"size": -1}, ["spec.size"]),
        ({"size": 101}, ["spec.size"]),
        ({"size": 2**40}, ["spec.size"]),
        ({"colour": "Blue"}, ["spec.colour"]),
        ({"note": "UPPER"}, ["spec.note"]),
        ({"note": "line\n"}, ["spec.note"]),
        ({"note": "ninechars"}, ["spec.note"]),
        ({"note": ""}, ["spec.note"]),
        ({"tags": ["a", "b", "c"]}, ["spec.tags"]),
        ({"tags": "a"}, ["spec.tags"]),
        ({"tags": ["a", 1]}, ["spec.tags[1]"]),
        ({"ports": [{"port": 1}]}, ["spec.ports[0].name"]),
        ({"labels": {"k": "too long"}}, ["spec.labels.k"]),
        ({"labels": {"a": "", "b": "", "c": ""}}, ["spec.labels"]),
        ({"at": "yesterday"}, ["spec.at"]),
        ({"strict": "true"}, ["spec.strict"]),
        ({"ratio": 0}, ["spec.ratio"]),
        ({"free": "text"}, ["spec.free"]),
        ({"colour": "Blue", "note": "UPPER"}, ["spec.colour", "spec.note"]),
    ],
    ids=str,
)
async def test_a_value_that_does_not_fit_is_refused(api: RawKube, spec: dict[str, Any], fields: list[str]) -> None:
    refused = await api.try_create("a", **spec)
    assert refused.causes == [api.as_named(field) for field in fields]


@pytest.mark.parametrize(
    "spec",
    [
        {"size": 0},
        {"size": 100, "note": "abcdefgh"},
        {"tags": ["a", "b"], "labels": {"a": "12345"}},
        {"at": "2026-11-23T12:00:00Z"},
        {"at": "2026-11-23T12:00:00.123456+01:00"},
        {"ratio": 0.5},
        {"maybe": None},
        {"free": {"any": [{"thing": 1}]}},
        {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]},
    ],
    ids=str,
)
async def test_a_value_that_fits_is_kept_as_it_is(api: RawKube, spec: dict[str, Any]) -> None:
    kept = (await api.create("a", **spec))["spec"]
    assert {key: kept.get(key) for key in spec} == spec
    assert ("maybe" in kept) is ("maybe" in spec)


async def test_a_key_occurs_once_in_a_list_with_keys(api: RawKube) -> None:
    assert (await api.try_create("a", ports=[{"name": "web"}, {"name": "web"}])).causes == ["spec.ports[1]"]


async def test_a_missing_field_is_named(api: RawKube) -> None:
    manifest = widget("a")
    answer = await api.call("POST", api.widgets, manifest)
    assert answer.causes == ["spec.size"]
    assert answer.body["message"] == 'Widget.conformance.example.com "a" is invalid: spec.size: Required value'
    del manifest["spec"]
    assert (await api.call("POST", api.widgets, manifest)).causes == ["spec"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"colour": "Blue"}, 'spec.colour: Unsupported value: "Blue": supported values: "Red", "Green"'),
        ({"note": "UPPER"}, "spec.note: Invalid value: \"UPPER\": spec.note in body should match '^[a-z]*$'"),
        ({"size": "2"}, 'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"'),
        ({"size": 101}, "spec.size: Invalid value: 101: spec.size in body should be less than or equal to 100"),
    ],
    ids=str,
)
async def test_a_refusal_says_what_would_fit(api: RawKube, spec: dict[str, Any], message: str) -> None:
    answer = await api.try_create("a", **spec)
    assert answer.body["message"] == f'Widget.conformance.example.com "a" is invalid: {message}'


async def test_defaults_are_filled_in_and_unknown_fields_pruned(api: RawKube) -> None:
    made = await api.create("a", unknown=1, ports=[{"name": "web", "deep": 1}], colour=None, note=None)
    assert made["spec"] == {
        "size": 1,
        "colour": "Red",
        "ports": [{"name": "web", "port": 80}],
        "nested": {"mode": "Fast"},
    }


async def test_a_patch_is_checked_pruned_and_defaulted_too(api: RawKube) -> None:
    await api.create("a", colour="Green")
    assert (await api.merge("a", {"spec": {"size": 101}})).causes == ["spec.size"]
    after = (await api.merge("a", {"spec": {"unknown": 1, "colour": None}})).object
    assert after["spec"]["colour"] == "Red"
    assert "unknown" not in after["spec"]
    assert after["metadata"]["generation"] == 2


async def test_a_status_is_checked_and_pruned(api: RawKube) -> None:
    await api.create("a")
    for status, field in (
        ({"count": "one"}, "status.count"),
        ({"conditions": [{"type": "Ready"}]}, "status.conditions[0].status"),
        ({"seen": "now"}, "status.seen"),
    ):
        assert (await api.merge("a", {"status": status}, sub="/status")).causes == [api.as_named(field)]
    after = (await api.merge("a", {"status": {"phase": "Up", "unknown": 1}}, sub="/status")).object
    assert after["status"] == {"phase": "Up"}


async def test_unknown_fields_are_warned_of_or_refused_as_asked(api: RawKube) -> None:
    api.needs((1, 27), "field validation")
    manifest = widget("a", size=1, unknown=1, deep=2)
    strict = await api.call("POST", api.widgets, manifest, fieldValidation="Strict")
    assert strict.refusal == (400, "BadRequest")
    assert 'unknown field "spec.deep", unknown field "spec.unknown"' in strict.body["message"]
    warned = await api.call("POST", api.widgets, manifest, fieldValidation="Warn")
    assert sorted(warned.headers.getall("Warning")) == [
        '299 - "unknown field \\"spec.deep\\""',
        '299 - "unknown field \\"spec.unknown\\""',
    ]
    silent = await api.call("POST", api.widgets, widget("b", size=1, unknown=1), fieldValidation="Ignore")
    assert (silent.status, "Warning" in silent.headers) == (201, False)


async def test_a_definition_can_be_changed_while_it_is_served(api: RawKube) -> None:
    await api.create("a")
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.conformance.example.com"
    place = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/extra"
    change = [{"op": "add", "path": place, "value": {"type": "string", "default": "new"}}]
    assert (await api.call("PATCH", path, change, kind="application/json-patch+json")).status == 200
    try:

        async def is_known() -> bool:
            return bool((await api.merge("a", {"spec": {"extra": "x"}})).object["spec"].get("extra") == "x")

        await until(is_known)
        assert (await api.get("a")).object["metadata"]["generation"] == 2
    finally:
        change = [{"op": "remove", "path": place}]
        assert (await api.call("PATCH", path, change, kind="application/json-patch+json")).status == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metadata": {"name": "other.conformance.example.com"}}, "metadata.name"),
        ({"spec": {"scope": ""}}, "spec.scope"),
        ({"spec": {"versions": []}}, "spec.versions"),
    ],
)
async def test_a_definition_is_checked(api: RawKube, change: dict[str, Any], field: str) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    manifest: dict[str, Any] = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.conformance.example.com", **change.get("metadata", {})},
        "spec": {
            "group": "conformance.example.com",
            "scope": "Namespaced",
            "names": {"kind": "Gadget", "plural": "gadgets"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
            **change.get("spec", {}),
        },
    }
    assert field in (await api.call("POST", path, manifest)).causes


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        ({"either": 1}, 201),
        ({"either": "20%"}, 201),
        ({"either": 1.5}, 422),
        ({"choice": 3}, 201),
        ({"choice": 12}, 201),
        ({"choice": 7}, 422),
        ({"never": "yes"}, 201),
        ({"never": "no"}, 422),
    ],
    ids=str,
)
async def test_alternatives_are_checked(api: RawKube, spec: dict[str, Any], status: int) -> None:
    manifest = {"apiVersion": API, "kind": "Gadget", "metadata": {"name": api.namespace}, "spec": spec}
    answer = await api.call("POST", api.gadgets, manifest, dryRun="All")
    assert answer.status == status
    assert status == 422 or answer.object["spec"] == spec
