"""Whatever a server answers: the client raises its own errors and no others, and what it reads is within bounds."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from pipeline_approver.core.change import Outputs, digest_change, parse_change, render_change, summarise
from pipeline_approver.core.observation import PipelineView
from pipeline_approver.core.risk import assess_risk
from pipeline_approver.feldera import errors, wire
from pipeline_approver.feldera.client import Approval, Checkpoint, CheckpointProgress, FelderaClient, Listing
from pipeline_approver.feldera.connection import Connection, Secret
from support.cases import PROGRAM
from support.feldera import KEY
from support.fuzz import DIFFS, JSON, LARGEST, NUMBER, TEXT, build_rows

NAMES = st.sampled_from(["orders", "..", "a/b", "🍝", "\ud800", "\x00", "x" * 70_000, "%", ""]) | TEXT
STATUSES = st.sampled_from([200, 200, 200, 202, 204, 206, 301, 302, 400, 401, 403, 404, 418, 429, 500, 501, 503, 599])
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "Location", "Content-Type", "Set-Cookie", "Content-Encoding", "X-Odd"]),
    st.binary(max_size=30)
    | st.sampled_from([b"gzip", b"identity", b"//[", b"9" * 400, b"Mon, 99 Foo", b"\xff", b"=;"]),
    max_size=3,
)
ERRORS = st.fixed_dictionaries({}, optional={"message": TEXT | JSON, "error_code": TEXT | JSON, "details": JSON})
CHECKPOINTS = st.fixed_dictionaries(
    {},
    optional={
        "checkpoint_sequence_number": NUMBER | JSON,
        "incarnation_uuid": TEXT | JSON,
        "success": NUMBER | JSON,
        "failure": JSON | st.fixed_dictionaries({"sequence_number": NUMBER, "error": TEXT | JSON}),
    },
)
DOCUMENTS = st.one_of(
    JSON, ERRORS, CHECKPOINTS, build_rows(program_code="x"), st.lists(build_rows() | JSON, max_size=4)
)


def write(document: Any) -> bytes:
    return json.dumps(document).encode()


BODIES = (
    DOCUMENTS.map(write)
    | st.binary(max_size=50)
    | st.sampled_from(
        [
            b"[" * 50_000,
            b"{" * 50_000,
            b'{"a":' * 50_000,
            b"9" * 10_000,
            b"[" + b"9" * 10_000 + b"]",
            b"\xff\xfe[",
            b"\x00",
            b"NaN",
        ]
    )
)
"""Whole documents, pieces of them, and anything else."""
CUT_BODIES = st.builds(lambda body, end: body[:end], BODIES, st.none() | st.integers(0, 400))


async def call_all(client: FelderaClient, name: str) -> list[Any]:
    return await call_each(
        client,
        client.list_pipelines,
        client.list_pipelines,
        lambda: client.get_pipeline(name),
        lambda: client.get_program(name),
        lambda: client.approve(name, silent=True, concurrent=False),
        lambda: client.stop(name),
        lambda: client.diff(name, program_code="x", runtime_version=None),
        lambda: client.request_checkpoint(name),
        lambda: client.checkpoint_status(name, incarnation="\ud800" if name == "orders" else None),
    )


async def call_some(client: FelderaClient) -> list[Any]:
    return await call_each(client, client.list_pipelines, lambda: client.stop("orders"))


async def call_each(client: FelderaClient, *calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    answers: list[Any] = []
    for call in calls:
        try:
            answers.append(await call())
        except errors.FelderaError as error:
            answers.append(error)
    await client.aclose()
    return answers


def check_number(number: int | None) -> None:
    assert number is None or (type(number) is int and 0 <= number <= LARGEST)


def check_view(view: PipelineView) -> None:
    assert 0 < len(view.id) <= 64
    assert view.deployment_id is None or 0 < len(view.deployment_id) <= 64
    assert (view.id + (view.deployment_id or "")).isprintable()
    check_number(view.program_version)
    assert view.diff is None or view.status == "AwaitingApproval"
    assert replace(view) == view
    hash(view)


def check_answer(answer: Any) -> None:
    match answer:
        case errors.FelderaError():
            assert str(answer).isprintable()
            assert len(str(answer)) <= errors.MESSAGE_LENGTH
            assert answer.applied in (False, None)
            assert answer.reason.isalnum()
            assert answer.retry_after is None or 0 <= answer.retry_after <= 300
        case Listing():
            for name, view in answer.views.items():
                assert name == view.name
                check_view(view)
        case PipelineView():
            check_view(answer)
        case (view, _):
            check_view(view)
        case Approval():
            check_number(answer.checkpoint_sequence_number)
        case Checkpoint():
            check_number(answer.number)
        case CheckpointProgress():
            check_number(answer.success)
            check_number(answer.failed_number)
            assert answer.failure is None or len(answer.failure) <= 1024
        case str():
            assert isinstance(json.loads(answer), dict)
        case _:
            assert answer is None


@given(name=NAMES, status=STATUSES, body=CUT_BODIES, headers=HEADERS)
def test_any_answer_is_read_or_refused(name: str, status: int, body: bytes, headers: dict[str, bytes]) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body, headers=headers))
    client = FelderaClient(Connection(url="http://feldera.test", api_key=Secret(KEY)), transport=transport)
    for answer in asyncio.run(call_all(client, name)):
        check_answer(answer)


HEADS = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.0 200", b"HTTP/1.1 302 Found", b"HTTP/1.1 503 No", b"HTTP/1.1 0", b""]
)
LINES = st.lists(
    st.binary(max_size=20)
    | st.sampled_from(
        [
            *(b"Content-Length: 2", b"Content-Length: 99", b"Content-Length: x", b"Transfer-Encoding: chunked"),
            *(b"Content-Encoding: gzip", b"Content-Encoding: gzip, gzip", b"Location: //[", b"Location: \xff"),
            *(b"Connection: close", b"Set-Cookie: =", b"Retry-After: \xb2", b": x", b"x", b"X: " + b"y" * 70_000),
        ]
    ),
    max_size=3,
)


@given(head=HEADS, lines=LINES, body=CUT_BODIES, cut=st.none() | st.integers(0, 60))
def test_any_bytes_on_the_connection_are_read_or_refused(
    head: bytes, lines: list[bytes], body: bytes, cut: Any
) -> None:
    said = b"\r\n".join([head, *lines, b"", body])[:cut]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def run() -> list[Any]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            return await call_some(FelderaClient(Connection(url=url), timeout_seconds=20))
        finally:
            server.close()

    for answer in asyncio.run(run()):
        check_answer(answer)


@given(row=build_rows() | JSON)
def test_any_row_is_read_or_none(row: Any) -> None:
    view = wire.parse_view(row)
    if view is not None:
        check_view(view)
    if isinstance(row, dict):
        program = wire.parse_program(row)
        assert program is None or program.program_code == "" or len(program.program_code) == 64


@given(row=build_rows())
def test_the_same_row_reads_the_same_in_any_order_of_its_keys(row: dict[str, Any]) -> None:
    backwards = dict(reversed(row.items()))
    assert wire.parse_view(row) == wire.parse_view(backwards)


@given(diff=DIFFS, status=st.just("AwaitingApproval"))
def test_any_diff_has_a_digest_a_risk_and_a_form_that_fits(diff: Any, status: str) -> None:
    details = {"approval_diff": diff}
    view = wire.parse_view(
        {"id": "i", "name": "n", "deployment_status": status, "deployment_runtime_status_details": details}
    )
    assert view is not None
    if view.diff is None:
        return
    digests = {digest_change(diff=view.diff, program=PROGRAM, outputs=outputs) for outputs in Outputs}
    assert len(digests) == len(Outputs)
    change = parse_change(view.diff)
    risk, reasons = assess_risk(change, program=PROGRAM, outputs=Outputs.EMIT)
    assert 0 < len(reasons) <= 20
    assert all(0 < len(reason) <= 256 and reason.isprintable() for reason in reasons)
    assert risk.word == "Unknown" or (change.computed and not change.unknown)
    assert len(summarise(change)) <= 512
    json.dumps(render_change(change), ensure_ascii=False).encode()
