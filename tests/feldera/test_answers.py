"""What the client reads out of good answers, and out of odd ones: both formats of every server version."""

import json
from typing import Any

import httpx
import pytest

from pipeline_approver.feldera import errors, wire
from pipeline_approver.feldera.client import Approval, Checkpoint, CheckpointProgress
from support.feldera import build_row

LARGEST = 2**63 - 1
INCARNATION = "0199c0de-0000-7000-8000-00000000000f"


@pytest.mark.parametrize(
    ("status", "body", "number"),
    [
        (200, '"Bootstrap approved"', None),
        (200, '"any other text"', None),
        (202, '{"checkpoint_sequence_number": 42}', 42),
        (200, '{"checkpoint_sequence_number": 42}', 42),
        (202, '{"checkpoint_sequence_number": 0}', 0),
        (202, f'{{"checkpoint_sequence_number": {LARGEST}}}', LARGEST),
        (202, f'{{"checkpoint_sequence_number": {LARGEST + 1}}}', None),
        (202, f'{{"checkpoint_sequence_number": {2**64 - 1}}}', None),
        (202, '{"checkpoint_sequence_number": ' + "9" * 5000 + "}", None),
        (202, '{"checkpoint_sequence_number": -1}', None),
        (202, '{"checkpoint_sequence_number": true}', None),
        (202, '{"checkpoint_sequence_number": "42"}', None),
        (202, '{"checkpoint_sequence_number": 4.0}', None),
        (202, '{"checkpoint_sequence_number": 1e400}', None),
        (202, '{"checkpoint_sequence_number": NaN}', None),
        (202, '{"checkpoint_sequence_number": null}', None),
        (202, '{"checkpoint_sequence_number": [42]}', None),
        (202, "{}", None),
        (202, "null", None),
        (202, "", None),
        (204, "", None),
        (200, " \r\n", None),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_both_answers_of_an_approval_are_taken(
    client_of: Any, status: int, body: str, number: int | None
) -> None:
    client = client_of(status, content=body.encode())
    assert await client.approve("orders", silent=False, concurrent=False) == Approval(number)


async def test_an_approval_may_name_the_process_that_its_number_belongs_to(client_of: Any) -> None:
    answer = {"checkpoint_sequence_number": 3, "incarnation_uuid": INCARNATION}
    approval = await client_of(202, json=answer).approve("orders", silent=False, concurrent=False)
    assert approval == Approval(3, INCARNATION)


@pytest.mark.parametrize("number", [0, 7, LARGEST])
async def test_a_checkpoint_has_a_number_and_perhaps_a_process(client_of: Any, number: int) -> None:
    answer = {"checkpoint_sequence_number": number}
    assert await client_of(200, json=answer).request_checkpoint("orders") == Checkpoint(number)
    answer |= {"incarnation_uuid": INCARNATION}
    assert await client_of(200, json=answer).request_checkpoint("orders") == Checkpoint(number, INCARNATION)


@pytest.mark.parametrize("number", [-1, True, "7", 2**63, None, 7.0, []], ids=str)
async def test_a_checkpoint_without_a_number_may_have_been_taken(client_of: Any, number: object) -> None:
    with pytest.raises(errors.Ambiguous):
        await client_of(200, json={"checkpoint_sequence_number": number}).request_checkpoint("orders")


@pytest.mark.parametrize(
    ("answer", "progress"),
    [
        ({"success": None, "failure": None}, CheckpointProgress()),
        ({"success": 0, "failure": None}, CheckpointProgress(success=0)),
        (
            {"success": 2, "failure": {"sequence_number": 3, "error": "disk full", "failed_at": "…"}},
            CheckpointProgress(success=2, failed_number=3, failure="disk full"),
        ),
        ({"success": 2**64 - 1, "failure": "no"}, CheckpointProgress()),
        ({"success": True, "failure": {"sequence_number": -1, "error": 3}}, CheckpointProgress()),
        ({}, CheckpointProgress()),
    ],
    ids=str,
)
async def test_the_progress_of_checkpoints(client_of: Any, answer: Any, progress: CheckpointProgress) -> None:
    assert await client_of(200, json=answer).checkpoint_status("orders", incarnation=None) == progress


def diff_of(details: Any, **fields: Any) -> Any:
    view = wire.parse_view(build_row(deployment_runtime_status_details=details, **fields))
    assert view is not None
    return None if view.diff is None else json.loads(view.diff)


DIFF = build_row()["deployment_runtime_status_details"]["approval_diff"]
FAILED = {**DIFF, "program_diff": None, "program_diff_error": "no IR in the checkpoint"}


@pytest.mark.parametrize("diff", [DIFF, FAILED], ids=["computed", "not computed"])
def test_both_places_of_the_diff_are_known(diff: Any) -> None:
    assert diff_of({"approval_diff": diff}) == diff
    assert diff_of(diff) == diff
    assert diff_of({"reason": "r", "connector_stats": {"num_errors": 0}, "approval_diff": diff}) == diff


@pytest.mark.parametrize(
    "details",
    [
        *(None, "", "waiting", json.dumps(DIFF), [], [DIFF], 0, True, {}, {"reason": "lost contact"}),
        *({"approval_diff": None}, {"approval_diff": "text"}, {"approval_diff": [DIFF]}, {"added_views": []}),
    ],
    ids=lambda details: str(details)[:30],
)
def test_details_without_a_diff_show_none(details: Any) -> None:
    assert diff_of(details) is None


def test_the_diff_counts_only_while_the_pipeline_waits() -> None:
    """Feldera's status is one word later than its details now and then."""
    for status in ("Unavailable", "Initializing", "Running", "Stopped", "SomethingNew", "", None, 3):
        assert diff_of({"approval_diff": DIFF}, deployment_status=status) is None


def test_the_order_of_keys_is_no_difference() -> None:
    backwards = dict(reversed(DIFF.items()))
    one, other = (wire.parse_view(build_row(deployment_runtime_status_details=it)) for it in (DIFF, backwards))
    assert one == other


def test_a_diff_too_deep_to_walk_through_is_not_shown() -> None:
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    assert diff_of({"approval_diff": {**DIFF, "novelty": deep}}) is None
    assert diff_of({"approval_diff": {**DIFF, "novelty": [[[{"a": [1]}]]]}}) is not None


def test_words_and_keys_that_nobody_knows_yet_survive() -> None:
    view = wire.parse_view(
        build_row(
            deployment_status="Teleporting",
            deployment_desired_status="Elsewhere",
            platform_version="1.0.0-rc1",
            brand_new_key={"deep": [1, 2, 3]},
        )
    )
    assert view is not None
    assert (view.status, view.desired_status) == ("Teleporting", "Elsewhere")
    assert view.platform_version == "1.0.0-rc1"


@pytest.mark.parametrize("value", [None, 3, [], {}, True, 2.5], ids=str)
def test_a_value_of_the_wrong_type_counts_as_absent(value: Any) -> None:
    keys = set(build_row()) - {"id", "name", "deployment_id"}
    view = wire.parse_view(build_row(**dict.fromkeys(keys, value)))
    assert view is not None
    assert (view.status, view.desired_status, view.resources_desired_status) == ("", "", "")
    assert view.silent_bootstrap is (value is True)
    assert view.diff is None


@pytest.mark.parametrize("key", ["id", "name", "deployment_id"])
@pytest.mark.parametrize("value", [3, "", [], {}, True], ids=str)
def test_a_row_without_its_names_is_none(key: str, value: Any) -> None:
    assert wire.parse_view(build_row(**{key: value})) is None


@pytest.mark.parametrize("value", ["x" * 65, "a\x00b", "a\nb", "\ud800"], ids=repr)
def test_an_id_that_would_not_fit_into_the_status_is_none(value: str) -> None:
    """It is compared with what the status says, so a cut one would belong to nothing."""
    assert wire.parse_view(build_row(id=value)) is None
    assert wire.parse_view(build_row(deployment_id=value)) is None


def test_a_stopped_pipeline_has_no_deployment() -> None:
    view = wire.parse_view(build_row(deployment_id=None, deployment_status="Stopped"))
    assert view is not None
    assert view.deployment_id is None


def test_why_a_deployment_died() -> None:
    for error, expected in (
        ({"error_code": "InitializationError", "message": "no sink"}, ("InitializationError", "no sink")),
        ({"message": "no sink"}, ("UnknownError", "no sink")),
        ({}, ("UnknownError", "")),
        ({"error_code": None, "message": ["no sink"]}, ("UnknownError", "")),
    ):
        view = wire.parse_view(build_row(deployment_error=error))
        assert view is not None
        assert view.deployment_error is not None
        assert (view.deployment_error.code, view.deployment_error.message) == expected
    view = wire.parse_view(build_row(deployment_error="text"))
    assert view is not None
    assert view.deployment_error is None


async def test_a_list_is_read_row_by_row(client_of: Any) -> None:
    rows = [None, build_row(), "text", [], build_row(name="other", id=None), dict.fromkeys(build_row()), 3]
    listing = await client_of(200, json=rows).list_pipelines()
    assert set(listing.views) == {"orders"}
    assert listing.skipped == 6


async def test_of_two_rows_with_one_name_the_newer_one_counts_and_the_list_is_not_whole(client_of: Any) -> None:
    rows = [build_row(), build_row(id="0198c0de-0000-7000-8000-000000000002", deployment_status="Running")]
    listing = await client_of(200, json=rows).list_pipelines()
    assert listing.views["orders"].status == "Running"
    assert listing.skipped == 1


async def test_an_empty_list_is_an_answer(client_of: Any) -> None:
    listing = await client_of(200, json=[]).list_pipelines()
    assert (listing.views, listing.skipped, listing.unchanged) == ({}, 0, False)


async def test_the_same_list_again_is_not_read_again(client_of: Any) -> None:
    answers = [[build_row()], [build_row()], [build_row(program_version=8)], [build_row()]]
    client = client_of(lambda _: httpx.Response(200, json=answers.pop(0)))
    first, second, third, fourth = [await client.list_pipelines() for _ in range(4)]
    assert [one.unchanged for one in (first, second, third, fourth)] == [False, True, False, False]
    assert second.views == first.views == fourth.views
    assert third.views["orders"].program_version == 8


async def test_a_number_too_long_to_read_spoils_only_itself(client_of: Any) -> None:
    text = json.dumps([build_row(), build_row(name="other", program_version=0)])
    body = text.replace('"program_version": 0', '"program_version": ' + "9" * 10_000)
    listing = await client_of(200, content=body.encode()).list_pipelines()
    assert listing.views["other"].program_version == 0
    assert listing.views["orders"].program_version == 7


@pytest.mark.parametrize("body", ['[{"id": "x"}', '[{"a": "\xff"}]', "[" * 100_000], ids=["cut", "bytes", "deep"])
async def test_a_list_that_is_broken_somewhere_may_be_read_one_by_one(client_of: Any, body: str) -> None:
    with pytest.raises(errors.Unreadable, match="cut, or one of its rows"):
        await client_of(200, content=body.encode("latin-1")).list_pipelines()


@pytest.mark.parametrize("body", [b"<html></html>", b"{}", b"null", b'"[]"', b"", b"7"], ids=repr)
async def test_something_else_than_a_list_is_not_feldera(client_of: Any, body: bytes) -> None:
    with pytest.raises(errors.BadAnswer, match="is this the url of a Feldera API server") as caught:
        await client_of(200, content=body).list_pipelines()
    assert not isinstance(caught.value, errors.Unreadable)


async def test_a_list_of_fifty_megabytes_is_read(client_of: Any) -> None:
    body = json.dumps([build_row(description="x" * 50 * 2**20)]).encode()
    assert set((await client_of(200, content=body).list_pipelines()).views) == {"orders"}


async def test_an_answer_beyond_the_limit_is_refused(client_of: Any) -> None:
    body = b"[" + b" " * 65 * 2**20 + b"]"
    client = client_of(200, content=body)
    with pytest.raises(errors.Unreadable, match="larger than 64 MiB"):
        await client.list_pipelines()
    with pytest.raises(errors.Ambiguous, match="larger than 64 MiB"):
        await client.approve("orders", silent=False, concurrent=False)


async def test_another_pipeline_under_the_name_is_no_answer(client_of: Any) -> None:
    client = client_of(200, json=build_row(name="payments", program_code="x"))
    for call in (client.get_pipeline("orders"), client.get_program("orders")):
        with pytest.raises(errors.BadAnswer):
            await call


async def test_a_program_is_known_by_fingerprints_alone(client_of: Any) -> None:
    row = build_row(
        program_code="CREATE VIEW v",
        udf_rust=None,
        udf_toml="",
        program_info={
            "output_connectors": {"v.kafka": {"stream": "v"}, "v.delta": {"stream": "v"}, "x": None, "y": {}}
        },
    )
    view, program = await client_of(200, json=row).get_program("orders")
    assert view.name == "orders"
    assert len(program.program_code) == 64
    assert (program.udf_rust, program.udf_toml) == ("", "")
    assert program.feeds == (("v", ("delta", "kafka")),)


@pytest.mark.parametrize(
    "info", [None, [], "x", {"output_connectors": []}, {"output_connectors": {"a": {"stream": 1}}}]
)
async def test_what_a_program_feeds_may_be_unknown(client_of: Any, info: Any) -> None:
    _, program = await client_of(200, json=build_row(program_code="", program_info=info)).get_program("orders")
    assert program.feeds == ()


@pytest.mark.parametrize(
    "row",
    [{"program_code": None}, {"program_code": 3}, {"program_code": ["x"]}, {"udf_rust": 3}, {"udf_toml": ["x"]}],
    ids=str,
)
async def test_a_program_without_its_text_is_not_known(client_of: Any, row: Any) -> None:
    """Its fingerprint is part of what is approved: an empty one must not stand for any program."""
    with pytest.raises(errors.BadAnswer):
        await client_of(200, json=build_row(**{"program_code": "x", **row})).get_program("orders")
