"""Alerts, dashboard and runbooks speak of the same things."""

import json
import pathlib
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "chart" / "files" / "monitoring"
RUNBOOKS = ROOT / "docs" / "runbooks"
RULES: dict[str, Any] = yaml.safe_load((MONITORING / "prometheus-rule.yaml").read_text())["spec"]
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())

# What the page says is compared with what an operator serves in tests/operator/test_metrics.py.
LABELS = {
    name: set(re.findall(r"`(\w+)`", labels))
    for name, labels in re.findall(
        r"^\| `(\w+)` \| ([^|]*)\|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE
    )
}
TARGET_LABELS = {"namespace", "instance", "le"}


def queries() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    return panels + [rule["expr"] for rule in ALERTS.values()]


def metrics(query: str) -> set[str]:
    return {re.sub(r"_bucket$", "", name) for name in re.findall(r"\bpipeline_approver_(\w+)", query)}


@pytest.mark.parametrize("query", queries())
def test_queries_use_metrics_and_labels_that_exist(query: str) -> None:
    used = metrics(query)
    assert used
    assert used <= set(LABELS)
    named = set(re.findall(r"(\w+)(?:=~|!=|=)\"", query))
    for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", query):
        named |= {label.strip() for label in group.split(",")}
    assert named <= TARGET_LABELS.union(*(LABELS[name] for name in used))


def test_every_metric_is_on_the_dashboard() -> None:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    assert set().union(*map(metrics, panels)) == set(LABELS)


def test_panels_have_distinct_ids_and_say_what_they_show() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["description"] for panel in panels if panel["type"] != "row")
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_severity_and_a_runbook(alert: str) -> None:
    rule = ALERTS[alert]
    assert alert.startswith("PipelineApprover")
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    page = ROOT / rule["annotations"]["runbook"]
    assert page == RUNBOOKS / f"{alert}.md"
    text = page.read_text()
    assert text.startswith(f"# {alert}\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## What it means", "## What to do"]


def test_every_runbook_has_an_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == set(ALERTS)


def test_runbooks_name_manifests_that_exist() -> None:
    texts = [file.read_text() for file in ROOT.glob("deploy/**/*.yaml")]
    for page in RUNBOOKS.glob("*.md"):
        for name in re.findall(r"`(pipeline-approver(?:-\w+)?)`", page.read_text()):
            assert any(f"name: {name}\n" in text or f"[{name}]" in text for text in texts), f"{page.name}: {name}"


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_tested(alert: str) -> None:
    text = (MONITORING / "rules_test.yaml").read_text()
    assert alert in text or (alert.endswith(("Leader", "Leaders")) and "Leaders?" in text)


def test_the_rules_alert_when_they_should(tmp_path: pathlib.Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not on the PATH (Debian: prometheus): THE ALERT RULES ARE NOT RUN")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES))
    shutil.copy(MONITORING / "rules_test.yaml", tmp_path)
    for command in (["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
