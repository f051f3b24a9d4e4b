"""Feldera's own Python client drives the simulated server through the whole story, without knowing."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from feldera import FelderaClient, Pipeline, PipelineBuilder
from feldera.enums import BootstrapPolicy, PipelineFieldSelector, PipelineStatus
from feldera.rest.errors import FelderaAPIError, TableReloadNotAllowedError
from feldera.rest.retry import RetryConfig

OLD = """
CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, amount DECIMAL) WITH ('materialized' = 'true');
CREATE MATERIALIZED VIEW totals AS SELECT SUM(amount) AS total FROM orders;
"""
NEW = OLD.replace("SUM(amount)", "SUM(amount) + 1") + "CREATE MATERIALIZED VIEW daily AS SELECT id FROM orders;"


def connect(url: str) -> FelderaClient:
    return FelderaClient(url, retry_config=RetryConfig(max_retries=0))


def changed_and_restarted(url: str) -> tuple[Pipeline, int]:
    """A pipeline that ran, was checkpointed, stopped, edited and started again; and the checkpoint's number."""
    pipeline = PipelineBuilder(connect(url), "orders", OLD).create()
    pipeline.start(bootstrap_policy=BootstrapPolicy.AWAIT_APPROVAL)
    assert pipeline.status() == PipelineStatus.RUNNING
    number = pipeline.checkpoint(wait=True)
    pipeline.stop(force=True)
    pipeline.modify(sql=NEW)
    pipeline.start(bootstrap_policy=BootstrapPolicy.AWAIT_APPROVAL)
    return pipeline, number


async def test_a_changed_pipeline_waits_until_the_official_client_approves_it(
    site: Callable[..., Awaitable[Any]],
) -> None:
    here = await site()

    def story() -> None:
        pipeline, number = changed_and_restarted(here.server.url)
        assert number == 0
        assert pipeline.status() == PipelineStatus.AWAITINGAPPROVAL
        diff = pipeline.deployment_runtime_status_details()["approval_diff"]
        assert diff["program_diff"]["added_views"] == ["daily"]
        assert diff["program_diff"]["modified_views"] == ["totals"]
        assert diff["program_diff"]["modified_tables"] == []
        pipeline.approve()
        pipeline.wait_for_status(PipelineStatus.RUNNING, timeout=20)
        answer = pipeline.checkpoint_response(wait=True, timeout_s=20)
        assert answer["checkpoint_sequence_number"] == 0
        assert len(pipeline.checkpoints()) == 2
        pipeline.stop(force=True)
        # The checkpoint made the approval durable, so nobody is asked again.
        pipeline.start()
        assert pipeline.status() == PipelineStatus.RUNNING
        pipeline.stop(force=False)
        pipeline.delete(clear_storage=True)
        assert pipeline.status() == PipelineStatus.NOT_FOUND

    await asyncio.to_thread(story)
    assert [(a.name, a.effective) for a in here.server.approvals] == [("orders", True)]
    assert [stop.force for stop in here.server.stops] == [True, True, False]


async def test_the_official_client_previews_a_diff_pauses_and_resumes(
    site: Callable[..., Awaitable[Any]],
) -> None:
    here = await site()

    def story() -> None:
        pipeline = PipelineBuilder(connect(here.server.url), "orders", OLD, tags=["team:shop"]).create()
        assert [table.name for table in pipeline.tables()] == ["orders"]
        assert pipeline.diff(program_code=NEW)["program_diff"]["added_views"] == ["daily"]
        pipeline.start_paused()
        assert pipeline.status() == PipelineStatus.PAUSED
        pipeline.resume()
        assert pipeline.stats().global_metrics.pipeline_complete is False
        pipeline.pause()
        assert list(pipeline.logs())
        assert Pipeline.get("orders", pipeline.client).tags() == ["team:shop"]
        listed = pipeline.client.pipelines(PipelineFieldSelector.STATUS)
        assert [p.name for p in listed] == ["orders"]

    await asyncio.to_thread(story)


async def test_reloadable_tables_refuse_a_reload_and_leave_the_pipeline_waiting(
    site: Callable[..., Awaitable[Any]],
) -> None:
    here = await site()

    def story() -> None:
        pipeline = PipelineBuilder(connect(here.server.url), "orders", OLD).create()
        pipeline.start()
        pipeline.checkpoint(wait=True)
        pipeline.stop(force=True)
        pipeline.modify(sql=OLD.replace("amount DECIMAL", "amount BIGINT"))
        with pytest.raises(TableReloadNotAllowedError, match="orders"):
            pipeline.start(bootstrap_policy=BootstrapPolicy.ALLOW, reloadable_tables=[])
        assert pipeline.status() == PipelineStatus.AWAITINGAPPROVAL

    await asyncio.to_thread(story)
    assert here.server.approvals == []


async def test_errors_reach_the_official_client_with_their_codes(site: Callable[..., Awaitable[Any]]) -> None:
    here = await site(edition="Open source")
    here.server.add("orders", program=OLD)

    def story() -> None:
        client = connect(here.server.url)
        assert not client.get_config().edition.is_enterprise()
        with pytest.raises(FelderaAPIError) as unknown:
            client.approve_pipeline("nobody")
        assert (unknown.value.status_code, unknown.value.error_code) == (404, "UnknownPipelineName")
        with pytest.raises(FelderaAPIError) as enterprise:
            Pipeline.get("orders", client).checkpoint()
        assert (enterprise.value.status_code, enterprise.value.error_code) == (501, "EnterpriseFeature")
        with pytest.raises(RuntimeError, match="SYNTAX ERROR"):
            PipelineBuilder(client, "broken", "CREATE TABLE SYNTAX ERROR;").create()

    await asyncio.to_thread(story)


async def test_the_official_client_authenticates_with_an_api_key(
    site: Callable[..., Awaitable[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    here = await site(api_keys={"apikey:writer": "write", "apikey:reader": "read"})
    here.server.add("orders", state="AwaitingApproval")

    def story() -> None:
        retry = RetryConfig(max_retries=0)
        with pytest.raises(FelderaAPIError) as refused:
            FelderaClient(here.server.url, api_key="apikey:nobody", retry_config=retry)
        assert (refused.value.status_code, refused.value.error_code) == (401, "AuthenticationFailed")
        reader = FelderaClient(here.server.url, api_key="apikey:reader", retry_config=retry)
        assert Pipeline.get("orders", reader).status() == PipelineStatus.AWAITINGAPPROVAL
        with pytest.raises(FelderaAPIError) as forbidden:
            reader.approve_pipeline("orders")
        assert (forbidden.value.status_code, forbidden.value.error_code) == (403, "InsufficientPermissions")
        FelderaClient(here.server.url, api_key="apikey:writer", retry_config=retry).approve_pipeline("orders")

    await asyncio.to_thread(story)
    assert [approval.effective for approval in here.server.approvals] == [True]
