"""Figures as Markdown, with ratios to the operator's own of the same run."""

from bench.measure import Figures, quantile

HEADS = (
    "Pipelines",
    "candidate",
    "start to all statuses (s)",
    "requests to Feldera / min at rest",
    "requests to Kubernetes / min at rest",
    "CPU at rest (%)",
    "memory at rest (MB)",
    "waiting to status p50 / p99 (ms)",
    "annotation to POST p50 / p99 (ms)",
    "burst: last POST (s)",
)


def render_rows(rows: list[Figures]) -> str:
    """The table of one number of Pipelines; in brackets how many times our figure a peer's is."""
    ours = next((row for row in rows if row.candidate.script is None), None)
    lines = ["| " + " | ".join(HEADS) + " |", "|" + "---|" * len(HEADS)]
    lines += ["| " + " | ".join(_cells(row, None if row is ours else ours)) + " |" for row in rows]
    lines += [f"\n{row.candidate.title} gave up: {row.gave_up}" for row in rows if row.gave_up]
    return "\n".join(lines)


def render_own(rows: list[Figures]) -> str:
    """What is promised of the operator alone."""
    lines = ["| Pipelines | requests to Feldera per poll | writes to Pipelines at rest | writes per approval |"]
    lines.append("|---|---|---|---|")
    for row in rows:
        per_poll, per_approval = _number(row.feldera_per_poll, 2), _number(row.writes_per_approval, 2)
        lines.append(f"| {row.pipelines:,} | {per_poll} | {row.writes_at_rest} | {per_approval} |")
    return "\n".join(lines)


def _cells(row: Figures, ours: Figures | None) -> list[str]:
    def compared(name: str, digits: int) -> str:
        value = getattr(row, name)
        base = getattr(ours, name) if ours is not None else None
        return f"{_number(value, digits)}{_ratio(value, base)}"

    def spread(name: str) -> str:
        texts = []
        for share in (0.5, 0.99):
            value = quantile(getattr(row, name), share)
            base = quantile(getattr(ours, name), share) if ours is not None else None
            texts.append(f"{_number(value, 0 if (value or 0) >= 100 else 1)}{_ratio(value, base)}")
        return " / ".join(texts)

    burst = f"{_number(row.burst_seconds, 1)}{_ratio(row.burst_seconds, ours.burst_seconds if ours else None)}"
    return [
        f"{row.pipelines:,}",
        row.candidate.title,
        compared("synced_seconds", 1),
        compared("feldera_per_minute", 0),
        compared("kube_per_minute", 0),
        compared("cpu_percent", 1),
        compared("memory_mb", 0),
        spread("shown_ms"),
        spread("posted_ms"),
        f"{burst} of {row.burst:,}" if row.burst else "-",
    ]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _ratio(value: float | None, base: float | None) -> str:
    return f" ({value / base:.3g}x)" if value is not None and base else ""
