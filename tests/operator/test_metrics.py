"""What Prometheus reads is what happened; and alerts, dashboard and operator speak of the same series."""

import datetime
import json
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pipeline_approver import __version__
from pipeline_approver.core.resource import Resource, parse_resource
from pipeline_approver.metrics import Metrics
from pipeline_approver.sandbox.feldera import pipeline_diff
from support.scrape import PREFIX, Scrape, free_port, get, scrape, scrape_until
from support.stage import Stage, wait_until

MONITORING = Path(__file__).parents[2] / "deploy" / "chart" / "files" / "monitoring"
ADDITIVE = pipeline_diff(added_views=["daily"])
REEMITS = pipeline_diff(modified_views=["totals"])
DESTRUCTIVE = pipeline_diff(removed_tables=["orders"])
RISKS = {"Additive", "Reemits", "Reingests", "Destructive", "Unknown"}
TARGET_LABELS = {"namespace", "instance", "le"}
"""What Prometheus adds, and what a histogram has."""


def connect(stage: Stage, namespace: str, name: str) -> None:
    """A connection Secret."""
    metadata = {"name": name, "namespace": namespace}
    kind = {"apiVersion": "v1", "kind": "Secret", "type": "pipeline-approver.io/connection"}
    stage.kube.put({**kind, "metadata": metadata, "stringData": {"url": stage.feldera.url}})


def ask(stage: Stage, name: str, diff: dict[str, Any], namespace: str = "default", **spec: Any) -> None:
    """A Pipeline whose pipeline waits."""
    stage.feldera.add(name, state="AwaitingApproval", diff=diff)
    stage.create(name, namespace=namespace, **spec)


async def test_what_waits_is_counted_by_namespace_and_risk(stage: Stage) -> None:
    stage.kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    ask(stage, "a", ADDITIVE)
    ask(stage, "b", DESTRUCTIVE)
    ask(stage, "c", DESTRUCTIVE, "shop")
    ask(stage, "d", DESTRUCTIVE, "shop")
    stage.feldera.add("e")
    stage.create("e", namespace="shop")
    port = free_port()
    async with stage.operator(health_port=port):
        seen = await scrape_until(port, lambda found: sum(found.series("pending").values()) == 4)
        assert {key: value for key, value in seen.series("pending").items() if value} == {
            ("default", "Additive"): 1,
            ("default", "Destructive"): 1,
            ("shop", "Destructive"): 2,
        }
        assert {namespace for namespace, _ in seen.series("pending")} == {"default", "shop"}
        # One that is decided does not wait for a decision any more, whatever becomes of it.
        hold = stage.feldera.hold(("POST", "approve"))
        stage.annotate("c", "shop", approve="true")
        await hold.reached.wait()
        seen = await scrape(port)
        assert seen("pending", namespace="shop", risk="Destructive") == 1
        hold.release()
        # A namespace leaves with its last Pipeline.
        for name in ("c", "d", "e"):
            stage.kube.delete("pipelines", "shop", name)
        await scrape_until(port, lambda found: {key[0] for key in found.series("pending")} == {"default"})


async def test_decisions_calls_and_outcomes_are_counted_as_they_happen(stage: Stage) -> None:
    ask(stage, "approved", REEMITS)
    ask(stage, "rejected", DESTRUCTIVE)
    ask(stage, "refused", ADDITIVE)
    ask(stage, "swapped", ADDITIVE)
    port = free_port()
    async with stage.operator(health_port=port):
        for name in ("approved", "rejected", "refused", "swapped"):
            await stage.request(name)
        stage.annotate("approved", approve="true")
        await stage.outcome("approved", "Bootstrapped")
        stage.annotate("rejected", reject="true")
        await stage.outcome("rejected", "Stopped")
        stage.feldera.faults.add(("POST", "approve"), kind="status", status=400, code="InvalidRequest")
        stage.annotate("refused", approve="true")
        await stage.outcome("refused", "Failed")
        stage.feldera.pipelines["swapped"].swap_deployment_on_next_approve(DESTRUCTIVE)
        stage.annotate("swapped", approve="true")
        await stage.outcome("swapped", "Superseded")
        # An outcome is counted when the answer to its record has come.
        seen = await scrape_until(port, lambda found: found("execution_seconds_count") == 4)
    assert {key: value for key, value in seen.series("decisions_total").items() if value} == {
        ("Reemits", "Annotation", "Approved"): 1,
        ("Destructive", "Annotation", "Rejected"): 1,
        ("Additive", "Annotation", "Approved"): 2,
    }
    assert seen.series("approve_calls_total") == {("sent",): 3, ("refused",): 1, ("failed",): 0, ("unknown",): 0}
    assert seen("superseded_total") == 1
    assert seen("replays_total") == 0
    assert seen("waiting_seconds_count") == 4
    assert seen("execution_seconds_count") == 4
    assert seen("request_errors_total", code="400") == 1
    assert seen("leader") == 1


async def test_a_call_without_an_answer_and_one_without_effect_are_told_apart(stage: Stage) -> None:
    ask(stage, "orders", ADDITIVE)
    port = free_port()
    async with stage.operator(health_port=port):
        request = await stage.request("orders")
        stage.feldera.faults.add(("POST", "approve"), kind="status", status=429, code="TooManyRequests")
        stage.feldera.faults.add(("POST", "approve"), kind="applied_then_drop")
        stage.annotate("orders", approve=request["id"])
        await stage.outcome("orders", "Bootstrapped")
        seen = await scrape(port)
    assert seen.series("approve_calls_total") == {("sent",): 0, ("refused",): 0, ("failed",): 1, ("unknown",): 1}
    assert seen("request_errors_total", code="429") == 1
    assert seen("request_errors_total", code="ConnectionBroken") == 1
    assert sum(seen.series("decisions_total").values()) == 1


async def test_a_replay_is_counted_and_takes_no_part_in_the_times(stage: Stage) -> None:
    ask(stage, "orders", ADDITIVE, checkpoint="Never")
    port = free_port()
    async with stage.operator(health_port=port):
        stage.annotate("orders", approve="true")
        await stage.outcome("orders", "Bootstrapped")
        # Nothing of the approval was stored: the next process of the same deployment asks again.
        stage.feldera.pipelines["orders"].crash_process(keep_policy=False)
        await scrape_until(port, lambda found: found("approve_calls_total", outcome="sent") == 2)
        await stage.outcome("orders", "Bootstrapped")
        await stage.polls(3)
        seen = await scrape(port)
    assert seen("replays_total") == 1
    assert sum(seen.series("decisions_total").values()) == 1
    assert seen("waiting_seconds_count") == 1
    assert seen("execution_seconds_count") == 1


async def test_every_connection_has_its_polls_until_the_last_pipeline_that_uses_it_is_gone(stage: Stage) -> None:
    connect(stage, "default", "feldera")
    stage.feldera.add("orders")
    stage.feldera.add("shipments")
    stage.create("orders")
    stage.create("shipments", connectionSecretRef={"name": "feldera"})
    port = free_port()
    async with stage.operator(health_port=port):
        both = {("own",), ("default/feldera",)}
        await scrape_until(port, lambda found: set(found.series("poll_seconds_count")) == both)
        seen = await scrape(port)
        assert set(seen.series("poll_age_seconds")) == both
        # The last poll is under way when its connection goes out of use: it counts no more.
        hanging = stage.feldera.faults.add(("GET", "list"), kind="hang", times=2)
        await wait_until(lambda: hanging.hits == 2)
        stage.kube.delete("pipelines", "default", "shipments")
        await scrape_until(port, lambda found: set(found.series("poll_age_seconds")) == {("own",)})
        assert set((await scrape(port)).series("poll_seconds_count")) == {("own",)}


async def test_the_age_of_the_last_poll_grows_while_feldera_is_silent(stage: Stage) -> None:
    stage.feldera.add("orders")
    stage.create("orders")
    port = free_port()
    async with stage.operator(health_port=port):
        await scrape_until(port, lambda found: found.series("poll_seconds_count").get(("own",), 0) > 2)
        fault = stage.feldera.faults.add(("*", "*"), kind="status", status=401, times=None)
        await scrape_until(port, lambda found: found("poll_age_seconds", connection="own") > 1)
        seen = await scrape(port)
        assert seen("request_errors_total", code="401") > 0
        stage.feldera.faults.remove(fault)
        await scrape_until(port, lambda found: found("poll_age_seconds", connection="own") < 1)


async def test_a_feldera_that_never_answered_has_an_age_too(stage: Stage) -> None:
    stage.create("orders")
    port = free_port()
    async with stage.operator(environ={"FELDERA_URL": f"http://127.0.0.1:{free_port()}"}, health_port=port):
        seen = await scrape_until(port, lambda found: found("poll_age_seconds", connection="own") > 0.5)
        assert seen("request_errors_total", code="ConnectionRefused") > 0


async def test_a_watch_that_is_opened_anew_is_counted_whatever_ended_it(stage: Stage) -> None:
    stage.create("orders")
    port = free_port()
    async with stage.operator(health_port=port):
        await wait_until(lambda: stage.kube.counts["watch", "pipelines"] == 1, "the first watch")
        assert (await scrape(port))("watch_restarts_total") == 0
        for count, end in enumerate((stage.kube.cut_watches, stage.kube.expire_watches), start=1):
            end("pipelines")
            await scrape_until(port, lambda found, count=count: found("watch_restarts_total") >= count)
        await scrape_until(
            port, lambda found: found("watch_restarts_total") == stage.kube.counts["watch", "pipelines"] - 1
        )


async def test_ten_thousand_pipelines_have_as_many_series_as_ten() -> None:
    few, many = Told(), Told()
    for told, count in ((few, 10), (many, 10_000)):
        for number in range(count):
            told.see(f"p{number}", namespace=f"n{number % 5}", request=REQUEST)
    assert len((await many.scrape()).samples) == len((await few.scrape()).samples)
    assert sum((await many.scrape()).series("pending").values()) == 10_000


REQUEST = {
    "id": "3f9a1c07be42",
    "digest": "sha256:" + "0" * 64,
    "since": "2026-11-23T12:00:00Z",
    "risk": "Reemits",
    "reasons": ["modified view totals"],
    "summary": "1 view modified",
    "outputs": "Emit",
    "change": {"modifiedViews": ["totals"]},
}
DECISION = {
    "requestId": REQUEST["id"],
    "digest": REQUEST["digest"],
    "verdict": "Approved",
    "by": {"via": "Annotation"},
    "at": "2026-11-23T12:10:00Z",
    "outcome": "Sending",
    "attempts": 1,
}


class Told:
    """Metrics that are told what a test wants, by a clock that it turns."""

    def __init__(self) -> None:
        self.now = datetime.datetime(2026, 11, 23, 12, 0, 0, tzinfo=datetime.UTC)
        self.metrics = Metrics(
            version="1", now=lambda: self.now, clock=lambda: self.now.timestamp(), stuck_after_seconds=40
        )
        self.metrics.expose(leads=lambda: True, poll_ages=dict)
        self.seen: dict[str, Resource] = {}

    def see(self, name: str, *, namespace: str = "default", **status: Any) -> None:
        metadata = {"name": name, "namespace": namespace, "uid": name}
        resource = parse_resource({"metadata": metadata, "spec": {}, "status": status})
        self.metrics.track(self.seen.get(name), resource)
        self.seen[name] = resource

    def lose(self, name: str) -> None:
        self.metrics.track(self.seen.pop(name), None)

    def pass_by(self, seconds: float) -> None:
        self.now += datetime.timedelta(seconds=seconds)

    async def scrape(self) -> Scrape:
        return Scrape((await self.metrics.render(""))[0].decode())


async def test_the_oldest_request_grows_old_without_anybody_writing_it_down() -> None:
    told = Told()
    assert (await told.scrape())("oldest_pending_seconds") == 0
    told.see("young", request={**REQUEST, "since": "2026-11-23T12:59:00Z"})
    told.see("old", request=REQUEST)
    told.pass_by(3600)
    assert (await told.scrape())("oldest_pending_seconds") == 3600
    told.pass_by(60)
    assert (await told.scrape())("oldest_pending_seconds") == 3660
    told.see("old", request=REQUEST, decision=DECISION)
    assert (await told.scrape())("oldest_pending_seconds") == 120
    told.lose("young")
    assert (await told.scrape())("oldest_pending_seconds") == 0
    # A clock that lags behind the one that wrote the status gives no negative age.
    told.see("ahead", request={**REQUEST, "since": "2026-11-24T12:00:00Z"})
    assert (await told.scrape())("oldest_pending_seconds") == 0


async def test_an_intent_is_stuck_when_nothing_comes_of_it_and_not_before() -> None:
    told = Told()
    told.see("orders", decision=DECISION)
    told.pass_by(39)
    assert (await told.scrape())("stuck_intents") == 0
    # Trying again is no outcome.
    told.see("orders", decision={**DECISION, "attempts": 2, "message": "no answer in time"})
    told.pass_by(1)
    assert (await told.scrape())("stuck_intents") == 1
    told.see("orders", decision={**DECISION, "outcome": "Sent"})
    assert (await told.scrape())("stuck_intents") == 0
    # The recorded decision is sent again: its time begins anew.
    told.see("orders", decision=DECISION)
    assert (await told.scrape())("stuck_intents") == 0
    told.pass_by(40)
    assert (await told.scrape())("stuck_intents") == 1
    told.lose("orders")
    assert (await told.scrape())("stuck_intents") == 0


async def test_a_risk_that_nobody_knows_becomes_no_label() -> None:
    told = Told()
    told.see("orders", request={**REQUEST, "risk": "Whatever"})
    assert {risk for _, risk in (await told.scrape()).series("pending")} == RISKS
    assert (await told.scrape())("pending", namespace="default", risk="Unknown") == 1


async def test_both_formats_are_served(stage: Stage) -> None:
    port = free_port()
    async with stage.operator(health_port=port):
        status, text, headers = await get(port, "metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert status == 200
        assert headers["Content-Type"].startswith("application/openmetrics-text")
        families = {family.name for family in text_string_to_metric_families(text)}
        _, _, headers = await get(port, "metrics", Accept="text/plain")
        assert headers["Content-Type"].startswith("text/plain")
    assert {f"{PREFIX}pending", f"{PREFIX}decisions", "process_resident_memory_bytes"} <= families


def queries() -> list[str]:
    """What alerts and dashboard ask."""
    rules = yaml.safe_load((MONITORING / "prometheus-rule.yaml").read_text())["spec"]["groups"]
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return asked + [rule["expr"] for group in rules for rule in group["rules"]]


async def test_every_series_that_alerts_and_dashboard_ask_for_is_there(stage: Stage) -> None:
    """Before anything has happened: a counter that appears with its first event has not increased."""
    stage.feldera.add("orders")
    stage.create("orders")
    port = free_port()
    async with stage.operator(health_port=port):
        seen = await scrape_until(port, lambda found: found.series("poll_seconds_count"))
    labels: dict[str, set[str]] = {}
    for name, pairs in seen.samples:
        labels.setdefault(name, set()).update(label for label, _ in pairs)
    asked = queries()
    assert len(asked) > 20
    for query in asked:
        names = set(re.findall(r"\b(pipeline_approver_\w+|process_\w+)", query))
        assert names
        assert names <= set(labels), query
        named = set(re.findall(r"(\w+)(?:=~|!=|=)\"", query))
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", query):
            named |= {label.strip() for label in group.split(",")}
        assert named <= TARGET_LABELS.union(*(labels[name] for name in names)), query
    for label, value in re.findall(r'(code|outcome)(?:=~|!=|=)"([^"]+)"', " ".join(asked)):
        known = {dict(pairs)[label] for _, pairs in seen.samples if label in dict(pairs)}
        assert set(value.split("|")) <= known
    assert seen("build_info", version=__version__) == 1
    # The page for people names the same series with the same labels.
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    told = {name: set(re.findall(r"`(\w+)`", text)) for name, text in re.findall(r"(?m)^\| `(\w+)` \| ([^|]*)\|", page)}
    served = {
        re.sub("_bucket$", "", name.removeprefix(PREFIX)): found - {"le"}
        for name, found in labels.items()
        if name.startswith(PREFIX) and not name.endswith(("_sum", "_count"))
    }
    assert told == served
