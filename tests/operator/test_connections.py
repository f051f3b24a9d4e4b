"""Connections: what is wrong with one, and what to do, stands in the conditions of its Pipelines."""

import asyncio
import base64
import socket
from typing import Any

import pytest

from pipeline_approver.sandbox.feldera import FelderaServer, pipeline_diff
from support.stage import Stage

DIFF = pipeline_diff(added_views=["daily"])
KEY = "apikey:" + "s3cr3t" * 8
TYPE = "pipeline-approver.io/connection"


def put_secret(stage: Stage, *, type_: str = TYPE, raw: dict[str, str] | None = None, **values: str) -> None:
    data = {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": "feldera", "namespace": "default"}
    stage.kube.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type_, "data": raw or data})


async def connected(stage: Stage, name: str, status: str) -> dict[str, Any]:
    """The condition Connected, once it has this status."""
    await stage.reach(name, lambda _: stage.condition(name, "Connected").get("status") == status)
    return stage.condition(name, "Connected")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_secret_brings_its_own_feldera_and_key(stage: Stage) -> None:
    other = FelderaServer(api_keys={KEY: "write"}, lag_seconds=0.01, step_seconds=0.02)
    await other.start()
    try:
        other.add("orders", state="AwaitingApproval", diff=DIFF)
        put_secret(stage, url=other.url, api_key=KEY)
        async with stage.operator():
            stage.create("orders", connectionSecretRef={"name": "feldera"}, annotations={"approve": "true"})
            await stage.outcome("orders", "Bootstrapped")
        assert len(other.approvals) == 1
        assert not stage.feldera.requests
    finally:
        await other.stop()


BAD_SECRETS: list[tuple[str, dict[str, Any], str, str]] = [
    ("of another type", {"type_": "Opaque", "url": "http://x"}, "SecretTypeWrong", "create the Secret anew"),
    ("empty", {}, "UrlMissing", "the key url is missing or empty"),
    ("url empty", {"url": ""}, "UrlMissing", "set it to the url"),
    ("no url", {"url": "feldera"}, "UrlInvalid", "http://"),
    ("another scheme", {"url": "ftp://feldera"}, "UrlInvalid", "http://"),
    ("credentials in the url", {"url": f"http://admin:{KEY}@feldera"}, "UrlInvalid", "take them out"),
    ("url with a query", {"url": "http://feldera/?key=1"}, "UrlInvalid", "plain url"),
    ("key empty", {"url": "http://x", "api_key": ""}, "ApiKeyInvalid", "take it out"),
    ("key with a line break", {"url": "http://x", "api_key": "a\nb"}, "ApiKeyInvalid", "characters"),
    ("no certificate", {"url": "https://x", "ca.crt": "nonsense"}, "CAInvalid", "PEM"),
    ("not base64 text", {"raw": {"url": "//79"}}, "SecretInvalid", "not text in base64"),
]


@pytest.mark.parametrize(
    ("secret", "reason", "told"), [row[1:] for row in BAD_SECRETS], ids=[r[0] for r in BAD_SECRETS]
)
async def test_a_secret_that_cannot_be_used_says_why_and_heals(
    stage: Stage, secret: dict[str, Any], reason: str, told: str
) -> None:
    stage.feldera.add("orders")
    stage.feldera.add("other")
    put_secret(stage, **secret)
    async with stage.operator():
        stage.create("orders", connectionSecretRef={"name": "feldera"})
        stage.create("other")
        condition = await connected(stage, "orders", "False")
        assert condition["reason"] == reason
        assert "Secret feldera in namespace default" in condition["message"]
        assert told in condition["message"]
        assert stage.condition("orders", "Stalled")["reason"] == reason
        assert stage.status("orders")["state"] == "Misconfigured"
        assert KEY not in str(stage.kube.list("pipelines")) + str(stage.kube.list("events"))
        # Nobody else is held up.
        await stage.reach("other", lambda status: status.get("state") == "Running")
        stage.kube.delete("secrets", "default", "feldera")
        put_secret(stage, url=stage.feldera.url)
        await connected(stage, "orders", "True")
        assert not stage.condition("orders", "Stalled")


async def test_a_missing_secret_is_named_and_taken_in_when_it_comes(stage: Stage) -> None:
    stage.feldera.add("orders")
    async with stage.operator():
        stage.create("orders", connectionSecretRef={"name": "feldera"})
        condition = await connected(stage, "orders", "False")
        assert condition["reason"] == "SecretNotFound"
        assert "create it with type pipeline-approver.io/connection and the key url" in condition["message"]
        put_secret(stage, url=stage.feldera.url)
        await connected(stage, "orders", "True")


async def test_a_secret_that_may_not_be_read_names_the_permission(stage: Stage) -> None:
    put_secret(stage, url=stage.feldera.url)
    stage.kube.allow = lambda user, verb, group, resource, *_: resource != "secrets"
    async with stage.operator():
        stage.create("orders", connectionSecretRef={"name": "feldera"})
        condition = await connected(stage, "orders", "False")
    assert condition["reason"] == "SecretForbidden"
    assert "the verb get on secrets" in condition["message"]


async def test_without_a_connection_of_its_own_the_operator_says_what_to_set(stage: Stage) -> None:
    async with stage.operator(environ={}):
        stage.create("orders")
        condition = await connected(stage, "orders", "False")
    assert condition["reason"] == "NoConnection"
    assert "FELDERA_URL" in condition["message"]


async def test_a_namespace_may_be_kept_from_the_operators_own_connection(stage: Stage) -> None:
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    async with stage.operator(own_connection_namespaces=frozenset({"payments"})):
        stage.create("orders", annotations={"approve": "true"})
        condition = await connected(stage, "orders", "False")
        assert condition["reason"] == "NamespaceNotAllowed"
        assert stage.condition("orders", "Stalled")["status"] == "True"
        await stage.reach("orders", lambda status: "request" not in status)
    assert not stage.feldera.approvals


@pytest.mark.parametrize(
    ("fault", "reason", "told"),
    [
        ({"kind": "status", "status": 401, "code": "AuthenticationFailed"}, "Unauthorized", "key or token"),
        ({"kind": "status", "status": 403, "code": "InsufficientPermissions"}, "Forbidden", "role write"),
        ({"kind": "status", "status": 503, "code": "DeadlockDetected"}, "Ambiguous", "503"),
        ({"kind": "html", "status": 200}, "BadAnswer", "is this the url of a Feldera API server"),
        ({"kind": "html", "status": 502}, "Ambiguous", "502"),
        ({"kind": "truncate"}, "Unreadable", "it is cut"),
        ({"kind": "drop"}, "ConnectionBroken", "broke"),
        ({"kind": "drop_mid_body"}, "ConnectionBroken", "broke"),
    ],
)
async def test_a_connection_that_fails_is_reported_after_the_third_poll_and_heals(
    stage: Stage, fault: dict[str, Any], reason: str, told: str
) -> None:
    stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
    async with stage.operator():
        stage.create("orders")
        request = await stage.request("orders")
        stage.feldera.faults.add(("*", "*"), times=None, **fault)
        condition = await connected(stage, "orders", "False")
        assert condition["reason"] == reason
        assert told in condition["message"]
        # What was asked before still stands, and nothing is decided from it.
        assert stage.status("orders")["request"] == request
        stage.annotate("orders", approve=request["id"])
        writes = stage.writes()
        await stage.polls(4)
        assert stage.writes() - writes <= 1
        assert not stage.feldera.approvals
        stage.feldera.faults.clear()
        await stage.outcome("orders", "Bootstrapped")
    assert len(stage.feldera.approvals) == 1


async def test_one_or_two_failed_polls_are_nobodys_business(stage: Stage) -> None:
    stage.feldera.add("orders")
    async with stage.operator():
        stage.create("orders")
        await stage.reach("orders", lambda status: status.get("state") == "Running")
        writes = stage.writes()
        stage.feldera.faults.add(("GET", "list"), kind="status", status=503, times=2)
        await stage.polls(6)
        assert stage.writes() == writes


async def test_a_dead_host_is_reported_and_taken_in_when_it_comes_up(stage: Stage) -> None:
    port = free_port()
    late = FelderaServer(port=port, lag_seconds=0.01, step_seconds=0.02)
    async with stage.operator(environ={"FELDERA_URL": f"http://127.0.0.1:{port}"}):
        stage.create("orders")
        condition = await connected(stage, "orders", "False")
        assert condition["reason"] == "ConnectionRefused"
        await late.start()
        try:
            late.add("orders")
            await connected(stage, "orders", "True")
        finally:
            await late.stop()


async def test_one_row_that_feldera_cannot_read_does_not_hold_up_the_others(stage: Stage) -> None:
    """The list fails as a whole then; single reads take its place."""
    for name in ("orders", "payments", "broken"):
        stage.feldera.add(name, state="AwaitingApproval", diff=DIFF)
    stage.feldera.faults.add(("GET", "list"), kind="status", status=500, code="InvalidRuntimeStatus", times=None)
    stage.feldera.faults.add(
        ("GET", "get"), kind="status", status=500, code="InvalidRuntimeStatus", times=None, pipeline="broken"
    )
    async with stage.operator():
        for name in ("broken", "orders", "payments"):
            stage.create(name, annotations={"approve": "true"})
        await stage.outcome("orders", "Bootstrapped")
        await stage.outcome("payments", "Bootstrapped")
    assert sorted(approval.name for approval in stage.feldera.approvals) == ["orders", "payments"]


async def test_strange_rows_hurt_nobody_else(stage: Stage) -> None:
    stage.feldera.add("orders")
    async with stage.operator():
        stage.create("orders")
        await stage.reach("orders", lambda status: status.get("state") == "Running")
        stage.feldera.faults.add(("GET", "list"), kind="nulls", times=3)
        await stage.polls(6)
        assert stage.status("orders")["state"] == "Running"


async def test_a_refused_key_that_is_replaced_is_read_again(stage: Stage) -> None:
    other = FelderaServer(api_keys={KEY: "write"}, lag_seconds=0.01, step_seconds=0.02)
    await other.start()
    try:
        other.add("orders", state="AwaitingApproval", diff=DIFF)
        put_secret(stage, url=other.url, api_key="apikey:old")
        async with stage.operator():
            stage.create("orders", connectionSecretRef={"name": "feldera"}, annotations={"approve": "true"})
            condition = await connected(stage, "orders", "False")
            assert condition["reason"] == "Unauthorized"
            put_secret(stage, url=other.url, api_key=KEY)
            await stage.outcome("orders", "Bootstrapped")
    finally:
        await other.stop()


async def test_a_key_that_may_only_read_says_which_role_is_needed_and_loses_no_decision(stage: Stage) -> None:
    other = FelderaServer(api_keys={KEY: "read"}, lag_seconds=0.01, step_seconds=0.02)
    await other.start()
    try:
        other.add("orders", state="AwaitingApproval", diff=DIFF)
        put_secret(stage, url=other.url, api_key=KEY)
        async with stage.operator():
            stage.create("orders", connectionSecretRef={"name": "feldera"}, annotations={"approve": "true"})
            message = await stage.reach(
                "orders",
                lambda status: "role write" in (text := status.get("decision", {}).get("message", "")) and text,
            )
            assert KEY not in message
            assert other.gate.api_keys is not None
            other.gate.api_keys[KEY] = "write"
            await stage.outcome("orders", "Bootstrapped")
        assert len(other.approvals) == 1
    finally:
        await other.stop()


async def test_a_token_file_is_read_for_every_request(stage: Stage, tmp_path: Any) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    other = FelderaServer(api_keys={"first": "write"}, lag_seconds=0.01, step_seconds=0.02)
    await other.start()
    try:
        other.add("orders", state="AwaitingApproval", diff=DIFF)
        async with stage.operator(environ={"FELDERA_URL": other.url, "FELDERA_TOKEN_FILE": str(file)}):
            stage.create("orders")
            await stage.request("orders")
            other.gate.api_keys = {"second": "write"}
            await connected(stage, "orders", "False")
            file.write_text("second\n")
            await connected(stage, "orders", "True")
            stage.annotate("orders", approve="true")
            await stage.outcome("orders", "Bootstrapped")
    finally:
        await other.stop()


async def test_retry_after_is_honoured(stage: Stage) -> None:
    stage.feldera.add("orders")
    async with stage.operator():
        stage.create("orders")
        await stage.reach("orders", lambda status: status.get("state") == "Running")
        stage.feldera.faults.add(("GET", "list"), kind="status", status=503, retry_after=2, times=1)
        await stage.polls(1)
        asked = [request for request in stage.feldera.requests if request.status == 503]
        await stage.polls(1)
        after = stage.feldera.requests[-1]
    assert after.at - asked[-1].at >= 2


async def test_a_feldera_that_hangs_holds_up_no_other_connection(stage: Stage) -> None:
    other = FelderaServer(lag_seconds=0.01, step_seconds=0.02)
    await other.start()
    try:
        other.faults.add(("*", "*"), kind="hang", times=None)
        put_secret(stage, url=other.url)
        stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
        async with stage.operator():
            for number in range(20):
                stage.create(f"stuck{number}", connectionSecretRef={"name": "feldera"}, annotations={"approve": "true"})
            await asyncio.sleep(0)
            stage.create("orders", annotations={"approve": "true"})
            await stage.outcome("orders", "Bootstrapped")
    finally:
        await other.stop()


async def test_calls_that_are_not_answered_hold_up_no_other_connection(stage: Stage) -> None:
    """The list comes, so that everything is known and decided; what is asked afterwards is not answered."""
    other = FelderaServer(lag_seconds=0.01, step_seconds=0.02)
    await other.start()
    names = [f"stuck{number}" for number in range(100)]
    try:
        for name in names:
            other.add(name, state="AwaitingApproval", diff=DIFF)
        put_secret(stage, url=other.url)
        stage.feldera.add("orders", state="AwaitingApproval", diff=DIFF)
        async with stage.operator():
            for name in (*names, "orders"):
                stage.create(name, **({"connectionSecretRef": {"name": "feldera"}} if name != "orders" else {}))
            for name in (*names, "orders"):
                await stage.request(name)
            held = other.hold(("GET", "get"))
            for name in names:
                stage.annotate(name, approve="true")
            await held.reached.wait()
            stage.annotate("orders", approve="true")
            await stage.outcome("orders", "Bootstrapped")
            assert not other.approvals, "the others still wait"
            held.release()
            for name in names:
                await stage.outcome(name, "Bootstrapped")
        assert len(other.approvals) == len(names)
    finally:
        await other.stop()
