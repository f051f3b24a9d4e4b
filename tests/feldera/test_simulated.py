"""The client and the simulated Feldera: whole calls over real HTTP, and whether what an error says of them is true."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trustme

from pipeline_approver.feldera import errors
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import Connection, Secret
from pipeline_approver.sandbox.feldera import FelderaServer, pipeline_diff
from support.feldera import KEY

APPROVE = ("POST", "approve")


class Site:
    """A server, and a client of it."""

    def __init__(self, server: FelderaServer, client: FelderaClient) -> None:
        self.server = server
        self.client = client

    async def until(self, name: str, status: str) -> Any:
        return await eventually(lambda: self.client.get_pipeline(name), lambda view: view.status == status)

    async def approve(self, **flags: bool) -> Any:
        return await self.client.approve("orders", **{"silent": False, "concurrent": False, **flags})


Open = Callable[..., Awaitable[Site]]


async def eventually(ask: Callable[[], Awaitable[Any]], is_wanted: Callable[[Any], bool]) -> Any:
    """Ask until the answer is the wanted one; the deadline is a safety net and no statement about speed."""
    async with asyncio.timeout(20):
        while True:
            answer = await ask()
            if is_wanted(answer):
                return answer
            await asyncio.sleep(0.01)


@pytest.fixture
async def site() -> AsyncIterator[Open]:
    opened: list[Site] = []

    async def start(*, key: str | None = None, ca: str | None = None, timeout: float = 10, **options: Any) -> Site:
        server = FelderaServer(**({"lag_seconds": 0.0, "step_seconds": 0.0} | options))
        await server.start()
        connection = Connection(url=server.url, api_key=Secret(key) if key else None, ca_pem=ca)
        client = FelderaClient(connection, timeout_seconds=timeout, approve_timeout_seconds=timeout)
        opened.append(Site(server, client))
        return opened[-1]

    yield start
    for one in opened:
        await one.client.aclose()
        await one.server.stop()


async def test_a_whole_approval(site: Open) -> None:
    here = await site()
    deployment = here.server.add(
        "orders", state="AwaitingApproval", diff=pipeline_diff(added_views=["v"])
    ).deployment_id
    listing = await here.client.list_pipelines()
    view, program = await here.client.get_program("orders")
    assert view == listing.views["orders"]
    assert (view.status, view.deployment_id) == ("AwaitingApproval", deployment)
    assert view.diff is not None
    assert '"added_views":["v"]' in view.diff
    assert program.program_code == ""
    assert (await here.approve(silent=True)).checkpoint_sequence_number is None
    [approval] = here.server.approvals
    assert (approval.deployment_id, approval.silent, approval.concurrent, approval.effective) == (
        deployment,
        True,
        False,
        True,
    )
    await here.until("orders", "Running")
    checkpoint = await here.client.request_checkpoint("orders")
    progress = await eventually(
        lambda: here.client.checkpoint_status("orders", incarnation=checkpoint.incarnation),
        lambda progress: progress.success is not None,
    )
    assert (checkpoint.number, progress.success) == (0, 0)
    with pytest.raises(errors.Refused) as caught:
        await here.client.checkpoint_status("orders", incarnation="00000000-0000-0000-0000-000000000000")
    assert caught.value.code == "IncarnationUuidMismatch"
    await here.client.stop("orders")
    assert (await here.until("orders", "Stopped")).deployment_id is None
    assert (await here.client.list_pipelines()).views["orders"].status == "Stopped"


async def test_the_answer_that_was_documented(site: Open) -> None:
    here = await site(approve_style="documented")
    here.server.add("orders", state="AwaitingApproval")
    assert (await here.approve()).checkpoint_sequence_number is not None


@pytest.mark.parametrize("shape", ["new", "old"])
async def test_both_shapes_of_the_details(site: Open, shape: str) -> None:
    here = await site(details_shape=shape)
    here.server.add("orders", state="AwaitingApproval", diff=pipeline_diff(error="no IR"))
    view = await here.client.get_pipeline("orders")
    assert view.diff is not None
    assert '"program_diff":null' in view.diff
    here.server.pipelines["orders"].set_observed("Unavailable")
    view = await here.client.get_pipeline("orders")
    assert (view.status, view.diff) == ("Unavailable", None)


async def test_a_pipeline_that_died_says_why(site: Open) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval").fail_after_approval("no sink")
    await here.approve()
    view = await here.until("orders", "Stopped")
    assert view.deployment_error is not None
    assert view.deployment_error.code == "InitializationError"
    assert "no sink" in view.deployment_error.message


async def test_keys_and_roles(site: Open) -> None:
    reader = await site(key=KEY, api_keys={KEY: "read"})
    reader.server.add("orders", state="AwaitingApproval")
    await reader.client.list_pipelines()
    for call in (reader.approve, lambda: reader.client.stop("orders")):
        with pytest.raises(errors.Forbidden, match="approving needs the role write"):
            await call()
    stranger = await site(key=KEY, api_keys={"apikey:other": "write"})
    with pytest.raises(errors.Unauthorized, match="does not accept the key or token"):
        await stranger.client.list_pipelines()
    nobody = await site(api_keys={KEY: "write"})
    with pytest.raises(errors.Unauthorized, match="none is configured"):
        await nobody.client.list_pipelines()
    assert not reader.server.approvals


async def test_an_edition_without_checkpoints(site: Open) -> None:
    here = await site(edition="Open source")
    here.server.add("orders")
    with pytest.raises(errors.Unsupported):
        await here.client.request_checkpoint("orders")


@pytest.mark.parametrize(
    ("state", "kind"), [("Stopped", errors.NotReady), ("Unavailable", errors.NotReady), (None, errors.NotFound)]
)
async def test_a_pipeline_that_cannot_be_approved(
    site: Open, state: str | None, kind: type[errors.FelderaError]
) -> None:
    here = await site()
    if state == "Stopped":
        here.server.add("orders", state="Stopped")
    elif state:
        here.server.add("orders", state="AwaitingApproval").set_observed(state)
    with pytest.raises(kind) as caught:
        await here.approve()
    assert caught.value.applied is False
    assert not here.server.approvals
    if kind is errors.NotReady:
        assert caught.value.retry_after == 5


async def test_both_flags_are_refused_before_anything_is_sent_on(site: Open) -> None:
    here = await site()
    here.server.add("orders", state="AwaitingApproval")
    with pytest.raises(errors.Refused) as caught:
        await here.approve(silent=True, concurrent=True)
    assert caught.value.code == "InvalidBootstrapConfig"
    assert not here.server.approvals


FAULTS: list[dict[str, Any]] = (
    [{"kind": "status", "status": status} for status in (400, 401, 403, 404, 408, 409, 429, 500, 501, 502, 503, 504)]
    + [
        {"kind": "status", "status": 503, "code": code}
        for code in ("Initializing", "PipelineUnavailable", "PipelineInteractionNotDeployed", "DeadlockDetected")
    ]
    + [
        {"kind": "applied_then_status", "status": 500, "code": "PostgresError"},
        {"kind": "applied_then_status", "status": 503, "code": "LockTookTooLong"},
        {"kind": "applied_then_status", "status": 503, "code": "PipelineInteractionUnreachable", "message": "timeout"},
        {"kind": "applied_then_status", "status": 502},
        {"kind": "applied_then_drop"},
        {"kind": "applied_then_hang"},
        {"kind": "drop_mid_body"},
        {"kind": "truncate"},
        {"kind": "drop"},
        {"kind": "hang"},
        {"kind": "html", "status": 200},
        {"kind": "html", "status": 502},
        {"kind": "html", "status": 302},
    ]
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: " ".join(map(str, fault.values())))
async def test_an_error_never_says_that_nothing_was_done_when_something_was(site: Open, fault: dict[str, Any]) -> None:
    here = await site(timeout=0.3 if "hang" in fault["kind"] else 10)
    here.server.add("orders", state="AwaitingApproval")
    here.server.faults.add(APPROVE, **fault)
    with pytest.raises(errors.FelderaError) as caught:
        await here.approve()
    done = bool(here.server.approvals)
    assert done is (fault["kind"].startswith("applied") or fault["kind"] in ("drop_mid_body", "truncate"))
    assert caught.value.applied in ((None,) if done else (None, False))


async def test_feldera_may_speak_tls_with_a_private_ca(site: Open) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    here = await site(ca=authority.cert_pem.bytes().decode(), ssl_context=context)
    here.server.add("orders", state="AwaitingApproval")
    await here.approve()
    assert len(here.server.approvals) == 1
