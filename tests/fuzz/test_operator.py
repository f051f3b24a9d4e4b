"""The whole operator among odd things: nothing crashes, nothing is logged as an error, and nobody else waits for it."""

import asyncio
import json
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_approver.core.tokens import TokenKind, parse_token
from pipeline_approver.sandbox.feldera import pipeline_diff
from support.fuzz import JSON, ODD_TOKENS, build_rows
from support.spoiler import Spoiler
from support.stage import Stage, wait_until

# The strategies have long values in them, and hypothesis describes a strategy with all of its values.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

DIFF = pipeline_diff(added_views=["daily"])
# A few long stories rather than many short ones; a story is not made shorter when it fails.
STORIES = hypothesis.settings(
    max_examples=max(1, hypothesis.settings.default.max_examples // 30),
    phases=(hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate),
    suppress_health_check=list(hypothesis.HealthCheck),
)


class Errors(logging.Handler):
    """What is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(logging.Formatter("%(name)s: %(message)s").format(record))


@contextmanager
def without_errors() -> Iterator[None]:
    handler = Errors()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    assert handler.found == []


def refused_writes(stage: Stage) -> list[Any]:
    """Statuses that the definition does not allow."""
    return [record for record in stage.kube.requests if record.status in (400, 422)]


ROWS = st.one_of(
    build_rows(name="odd").map(lambda row: json.dumps(row).encode()),
    build_rows().map(lambda row: json.dumps(row).encode()).filter(lambda row: b'"orders"' not in row),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"{", b"\xff", b"[" * 5000 + b"]" * 5000, b"", b'{"a":1}{', b"nul", b'"\\ud800"', b"9" * 5000]),
)


async def tell_odd_rows(folder: Path, rows: list[bytes]) -> None:
    async with Stage(folder) as stage:
        for name in ("first", "odd", "orders"):
            stage.feldera.add(name, state="AwaitingApproval", diff=DIFF)
        async with Spoiler(stage.feldera.url, "odd", rows) as spoiler:
            environ = {**stage.environ, "FELDERA_URL": spoiler.url}
            async with stage.operator(environ=environ):
                stage.create("odd")
                stage.create("orders", annotations={"approve": "true"})
                await stage.outcome("orders", "Bootstrapped")
                assert [approval.name for approval in stage.feldera.approvals] == ["orders"]
                await wait_until(lambda: spoiler.row is None, "all odd rows are told")
                # The odd one is as good as any, once what is said of it is.
                truth = stage.feldera.pipelines["odd"].deployment_id
                await stage.reach("odd", lambda status: status.get("pipeline", {}).get("deploymentId") == truth)
                request = await stage.request("odd")
                stage.annotate("odd", approve=request["id"])
                await stage.outcome("odd", "Bootstrapped")
        assert [approval.name for approval in stage.feldera.approvals] == ["orders", "odd"]
        assert refused_writes(stage) == []


@STORIES
@given(rows=st.lists(ROWS, min_size=10, max_size=20))
def test_odd_rows_of_one_pipeline_hurt_nobody(rows: list[bytes]) -> None:
    with without_errors(), tempfile.TemporaryDirectory() as folder:
        asyncio.run(tell_odd_rows(Path(folder), rows))


# The API server takes 256 KiB of annotations, and no more.
LONGEST = 250_000
VALUES = [value[:LONGEST] for value in ODD_TOKENS if value is not None]


async def write_odd_annotations(folder: Path, values: list[str]) -> None:
    async with Stage(folder) as stage:
        stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
        numbered = {f"p{number}": value for number, value in enumerate(values)}
        for number, name in enumerate(numbered):
            stage.feldera.add(name, state="AwaitingApproval" if number % 2 else "Running", diff=DIFF)
        async with stage.operator():
            for name, value in numbered.items():
                stage.create(name, annotations={"approve": value, "reason": value[:2000], "approved_by": value[:2000]})
            stage.create("orders", annotations={"approve": "true"})
            await stage.outcome("orders", "Bootstrapped")
            for name, value in numbered.items():
                await stage.reach(name, lambda status: status.get("state"))
                kind = parse_token(value).kind
                if kind is TokenKind.INVALID:
                    [ignored] = await stage.reach(name, lambda status: status.get("ignored"))
                    assert (ignored["annotation"], ignored["reason"]) == ("approve", "Malformed")
                    assert await wait_until(lambda name=name: stage.events(name, "AnnotationIgnored"))
                elif kind is TokenKind.ID:
                    [ignored] = await stage.reach(name, lambda status: status.get("ignored"))
                    assert ignored["reason"] in ("StaleRequest", "UnknownRequest")
        approved = {approval.name for approval in stage.feldera.approvals}
        waiting = {name for number, name in enumerate(numbered) if number % 2}
        willing = {name for name, value in numbered.items() if parse_token(value).kind is TokenKind.ONE_SHOT}
        assert approved <= {"orders"} | (waiting & willing)
        assert refused_writes(stage) == []


@STORIES
@given(values=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), max_size=20))
def test_odd_annotations_get_their_reason_and_hurt_nobody(values: list[str]) -> None:
    with without_errors(), tempfile.TemporaryDirectory() as folder:
        asyncio.run(write_odd_annotations(Path(folder), [*VALUES, *values]))
