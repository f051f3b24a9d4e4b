"""What Prometheus scrapes. Alerts and dashboard in `deploy/components/monitoring` speak of these names and labels.

A leaf: it is told what happened through small methods, counts as it is told, and asks others only when it is scraped.
Every label is bounded by the configuration: namespaces and connections leave with the last Pipeline that has them.
"""

import asyncio
import collections
import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from pipeline_approver.core.notes import Note
from pipeline_approver.core.resource import Resource
from pipeline_approver.core.risk import Risk
from pipeline_approver.core.settle import Accepted, Ambiguous, Answer, Refused, Unsupported
from pipeline_approver.core.status import IN_FLIGHT, Decision, Outcome, Request, Status, Verdict

PREFIX = "pipeline_approver_"
RISKS = tuple(risk.word for risk in Risk)
SOURCES = ("Annotation", "Policy")
CALL_OUTCOMES = ("sent", "refused", "failed", "unknown")
ERROR_CODES = ("401", "403", "429", "500", "503")
"""Counted from zero on, so that the first one is seen as an increase; others appear with their first error."""
MINUTE, HOUR, DAY = 60, 3600, 86400
WAITING_BUCKETS = (1, 5, 15, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR, DAY, 3 * DAY, 7 * DAY)
EXECUTION_BUCKETS = (1, 2, 5, 10, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, DAY)
POLL_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ENDS = ("Bootstrapped", "Stopped", "Failed", "Superseded")
"""The notes that tell of the outcome of a decision."""

Labels = tuple[str, ...]
"""The values of a series' labels."""

# The moment at which a counter was made is of no use to anybody here, and a second series for each.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that waits for a decision."""

    namespace: str
    risk: str
    since: float


@dataclass(frozen=True, slots=True)
class Sending:
    """A recorded decision whose call has no known outcome, and since when that is so."""

    request_id: str
    decided_at: datetime.datetime
    since: float


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is looked up at a scrape: how things stand at that moment."""

    pending: Mapping[Labels, float]
    oldest_seconds: float
    stuck: int
    leads: bool
    poll_ages: Mapping[Labels, float]


class _AtScrape(Collector):
    """Shows the facts that were looked up last."""

    facts: _Facts | None = None

    def collect(self) -> Iterator[Metric]:
        facts = self.facts
        if facts is None:
            return
        yield _build_gauge("pending", "Requests that wait for a decision.", facts.pending, "namespace", "risk")
        text = "How long the oldest request has waited; 0 when none waits."
        yield _build_gauge("oldest_pending_seconds", text, {(): facts.oldest_seconds})
        text = "Recorded decisions without a known outcome for longer than usual."
        yield _build_gauge("stuck_intents", text, {(): facts.stuck})
        yield _build_gauge("leader", "Whether this replica acts.", {(): facts.leads})
        text = "Since Feldera last answered a poll."
        yield _build_gauge("poll_age_seconds", text, facts.poll_ages, "connection")


class Metrics:
    """The metrics of one operator, in a registry of its own."""

    def __init__(
        self,
        *,
        version: str,
        now: Callable[[], datetime.datetime],
        clock: Callable[[], float],
        stuck_after_seconds: float,
    ) -> None:
        self._now = now
        self._clock = clock
        self._stuck_after = stuck_after_seconds
        self._pipelines: collections.Counter[str] = collections.Counter()
        self._pending: collections.Counter[tuple[str, str]] = collections.Counter()
        self._waiting: dict[str, Waiting] = {}
        self._sending: dict[str, Sending] = {}
        self._leads: Callable[[], bool] = lambda: True
        self._poll_ages: Callable[[], Mapping[str, float]] = dict
        self._registry = registry = CollectorRegistry()
        self._at_scrape = _AtScrape()
        registry.register(self._at_scrape)
        prometheus_client.ProcessCollector(registry=registry)

        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
            return Histogram(PREFIX + name, text, labels, buckets=buckets, registry=registry)

        self._decisions = counter("decisions_total", "Decisions recorded.", ("verdict", "source", "risk"))
        self._waited = histogram(
            "waiting_seconds", "From the first sight of a request to its decision.", WAITING_BUCKETS
        )
        self._executed = histogram("execution_seconds", "From a decision to its outcome.", EXECUTION_BUCKETS)
        self._calls = counter(
            "approve_calls_total",
            "Calls to Feldera that carry a decision: sent, refused, failed without effect, unknown (no answer heard).",
            ("outcome",),
        )
        self._superseded = counter("superseded_total", "Decisions whose request went away before they took effect.")
        self._replays = counter("replays_total", "Decisions given again to a process that asked again.")
        self._polls = histogram("poll_seconds", "Duration of a poll of Feldera.", POLL_BUCKETS, ("connection",))
        self._errors = counter("request_errors_total", "Failed requests to Feldera, by status or kind.", ("code",))
        self._watch_restarts = counter("watch_restarts_total", "How often a watch of Pipelines was opened anew.")
        Gauge(PREFIX + "build_info", "Always 1.", ("version",), registry=registry).labels(version).set(1)
        for verdict in Verdict:
            for source in SOURCES:
                for risk in RISKS:
                    self._decisions.labels(verdict.value, source, risk)
        for outcome in CALL_OUTCOMES:
            self._calls.labels(outcome)
        for code in ERROR_CODES:
            self._errors.labels(code)

    def expose(self, *, leads: Callable[[], bool], poll_ages: Callable[[], Mapping[str, float]]) -> None:
        """Have what changes by itself looked up at each scrape."""
        self._leads, self._poll_ages = leads, poll_ages

    async def render(self, accept: str) -> tuple[bytes, str]:
        """The text of a scrape and its content type, by the Accept header."""
        encode, content_type = choose_encoder(accept)
        # Looking is quick, and sees one moment; writing a few thousand series is not, and holds nobody up elsewhere.
        self._at_scrape.facts = self._look()
        return await asyncio.to_thread(encode, self._registry), content_type

    def track(self, before: Resource | None, after: Resource | None) -> None:
        """A Pipeline was seen as `after`, and is not `before` any more; None where there is none."""
        if before is not None:
            self._pipelines[before.namespace] -= 1
            waited = self._waiting.pop(before.key, None)
            if waited is not None:
                self._pending[waited.namespace, waited.risk] -= 1
            if not self._pipelines[before.namespace]:
                del self._pipelines[before.namespace]
                for risk in RISKS:
                    self._pending.pop((before.namespace, risk), None)
        sending = self._sending.pop(before.key, None) if before is not None else None
        if after is None:
            return
        self._pipelines[after.namespace] += 1
        request, decision = _find_waiting(after.status), after.status.decision
        if request is not None:
            waiting = Waiting(after.namespace, _bound_risk(request.risk), request.since.timestamp())
            self._waiting[after.key] = waiting
            self._pending[waiting.namespace, waiting.risk] += 1
        if decision is not None and decision.outcome is Outcome.SENDING:
            is_same = sending and (sending.request_id, sending.decided_at) == (decision.request_id, decision.at)
            self._sending[after.key] = (
                sending if sending and is_same else Sending(decision.request_id, decision.at, self._clock())
            )

    def note_transition(self, resource: Resource, before: Status, happened: Iterable[Note]) -> None:
        """This replica recorded something. Counted by the notes, so that metrics and Events say the same."""
        decision = resource.status.decision
        if decision is None:
            return
        reasons = {note.reason for note in happened}
        if decision.verdict.value in reasons:
            self._note_decision(decision, resource.status.request or before.request)
        self._replays.inc("DecisionReplayed" in reasons)
        self._superseded.inc("Superseded" in reasons)
        # A replayed decision was at its end once before; how long it takes again says nothing about deciding.
        ended_before = any((past.request_id, past.at) == (decision.request_id, decision.at) for past in before.history)
        if not reasons.isdisjoint(ENDS) and not ended_before:
            self._executed.observe(max(0.0, (self._now() - decision.at).total_seconds()))

    def note_call(self, answer: Answer) -> None:
        """A call that carries a decision was made."""
        match answer:
            case Accepted():
                outcome = "sent"
            case Refused() | Unsupported():
                outcome = "refused"
            case Ambiguous():
                outcome = "unknown"
            case _:
                outcome = "failed"
        self._calls.labels(outcome).inc()

    def note_poll(self, connection: str, seconds: float) -> None:
        """A poll has ended, well or not."""
        self._polls.labels(connection).observe(seconds)

    def forget_connection(self, connection: str) -> None:
        """A connection is no longer polled."""
        self._polls.remove(connection)

    def note_error(self, status: int | None, kind: str) -> None:
        """A request to Feldera failed: the status of the answer, or what kind of failure where there was none."""
        self._errors.labels(str(status) if status is not None and 300 <= status < 600 else kind).inc()

    def note_watch_restart(self) -> None:
        """A watch was opened anew."""
        self._watch_restarts.inc()

    def _note_decision(self, decision: Decision, request: Request | None) -> None:
        source = decision.by.via if decision.by.via in SOURCES else SOURCES[0]
        self._decisions.labels(decision.verdict.value, source, _bound_risk(request.risk if request else "")).inc()
        if request is not None:
            self._waited.observe(max(0.0, (decision.at - request.since).total_seconds()))

    def _look(self) -> _Facts:
        now, late = self._now().timestamp(), self._clock() - self._stuck_after
        return _Facts(
            pending={
                (namespace, risk): self._pending[namespace, risk] for namespace in self._pipelines for risk in RISKS
            },
            oldest_seconds=max(0.0, now - min((waiting.since for waiting in self._waiting.values()), default=now)),
            stuck=sum(sending.since <= late for sending in self._sending.values()),
            leads=self._leads(),
            poll_ages={(connection,): age for connection, age in self._poll_ages().items()},
        )


def _find_waiting(status: Status) -> Request | None:
    """The request that waits for a decision; one whose decision is on its way does not."""
    request, decision = status.request, status.decision
    answered = (
        request is not None
        and decision is not None
        and (decision.request_id, decision.digest) == (request.id, request.digest)
        and decision.outcome in IN_FLIGHT
    )
    return None if answered else request


def _build_gauge(name: str, text: str, values: Mapping[Labels, float], *labels: str) -> Metric:
    gauge = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in values.items():
        gauge.add_metric(key, value)
    return gauge


def _bound_risk(word: str) -> str:
    return word if word in RISKS else Risk.UNKNOWN.word
