"""Every state that a Pipeline can be in, as Argo CD and Flux judge it: as the table in docs/gitops.md says."""

import re
from typing import Any

import pytest

from pipeline_approver.sandbox.crd import read_crd
from support import docs, flux, kstatus
from support.argocd import ArgoCD
from support.states import NOT_LOOKED_AT, SITUATIONS, find_state, make_manifest, outdate

COLUMNS = ("state", "kstatus", "flux", "suspended-while-waiting", "healthy-while-waiting")


def read_table() -> dict[str, dict[str, str]]:
    """The table, by state; a row may speak of several."""
    rows: dict[str, dict[str, str]] = {}
    for states, _, *words in docs.read_table("gitops.md", first_header="`status.state`"):
        for state in re.findall(r"`(\w+)`", states) or [NOT_LOOKED_AT]:
            assert state not in rows, f"{state} has two rows"
            rows[state] = dict(zip(COLUMNS[1:], words, strict=True))
    return rows


TABLE = read_table()
EXPRESSIONS: dict[str, str] = docs.read_yaml("gitops.md", "flux")["spec"]["healthCheckExprs"][0]


def expect(state: str) -> dict[str, str]:
    # Feldera may think of new words; they are judged like the ones on their way.
    return TABLE[state] if state in TABLE else TABLE["Initializing"]


def judge(manifest: dict[str, Any], argocd: dict[str, ArgoCD]) -> dict[str, str]:
    return {
        "kstatus": kstatus.judge(manifest),
        "flux": flux.judge(EXPRESSIONS, manifest),
        **{name: variant.judge(manifest)[0] for name, variant in argocd.items()},
    }


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_pipeline_is_judged_as_the_table_says(situation: str, argocd: dict[str, ArgoCD]) -> None:
    world = SITUATIONS[situation]()
    manifest = make_manifest(world)
    assert judge(manifest, argocd) == expect(find_state(world, manifest))


@pytest.mark.parametrize("situation", SITUATIONS)
def test_an_edited_pipeline_is_in_progress_until_the_operator_has_seen_the_edit(
    situation: str, argocd: dict[str, ArgoCD]
) -> None:
    assert judge(outdate(make_manifest(SITUATIONS[situation]())), argocd) == TABLE[NOT_LOOKED_AT]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_whoever_is_judged_gets_a_message(situation: str, argocd: dict[str, ArgoCD]) -> None:
    assert all(variant.judge(make_manifest(SITUATIONS[situation]()))[1] for variant in argocd.values())


def test_the_table_speaks_of_every_state() -> None:
    reached = {find_state(world, make_manifest(world)) for world in (build() for build in SITUATIONS.values())}
    schema = read_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    described = set(re.findall(r"\b[A-Z]\w+\b", schema["state"]["description"].split(":")[1].split(", or another")[0]))
    assert described <= reached
    assert described <= set(TABLE)
    assert set(TABLE) <= reached, "a row that no situation leads to"


def test_who_waits_is_told_what_waits_and_how_to_approve_it(argocd: dict[str, ArgoCD]) -> None:
    world = SITUATIONS["waits"]()
    for variant in argocd.values():
        _, message = variant.judge(make_manifest(world))
        assert world.request_id in message
        assert "kubectl annotate" in message
        assert "Additive" in message


def test_flux_waits_where_a_status_is_missing_altogether() -> None:
    """As from an API server without the defaults of the CustomResourceDefinition."""
    manifest = {key: value for key, value in make_manifest(SITUATIONS["created"]()).items() if key != "status"}
    assert flux.judge(EXPRESSIONS, manifest) == flux.UNKNOWN


def test_flux_takes_the_expressions_for_pipelines() -> None:
    definition = read_crd()
    version = definition["spec"]["versions"][0]["name"]
    assert EXPRESSIONS["apiVersion"] == f"{definition['spec']['group']}/{version}"
    assert EXPRESSIONS["kind"] == definition["spec"]["names"]["kind"]
