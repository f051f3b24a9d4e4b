"""The client of the Kubernetes API: what every kind of answer is taken for, and of silence."""

import asyncio
import socket
from typing import Any

import pytest
from aiohttp import web

from pipeline_approver.kube import errors
from pipeline_approver.sandbox.kube import KubeServer
from support.kubeapi import PIPELINE, call_every_method, refuse


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "BadRequest", errors.Invalid),
        (401, "Unauthorized", errors.Forbidden),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (405, "MethodNotAllowed", errors.Unavailable),
        (406, "NotAcceptable", errors.Unavailable),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", errors.Conflict),
        (413, "RequestEntityTooLarge", errors.Unavailable),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.Unavailable),
        (500, "InternalError", errors.Unavailable),
        (502, "", errors.Unavailable),
        (503, "ServiceUnavailable", errors.Unavailable),
        (504, "Timeout", errors.Unavailable),
    ],
)
async def test_a_refusal_is_the_right_error_for_every_call(
    serve: Any, status: int, reason: str, kind: type[errors.KubeError]
) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return refuse(status, reason)

    raised = await call_every_method(await serve(handler))
    for error in raised:
        assert type(error) is kind
        assert (error.status, error.reason, str(error)) == (status, reason, "because")
    # The client tries nothing again behind the back of the engine.
    assert len(asked) == len(raised)


async def test_a_server_that_forgets_every_list_is_given_up(serve: Any) -> None:
    """It must not be asked for ever without a pause."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.query_string)
        return refuse(410, "Expired")

    kube = await serve(handler)
    with pytest.raises(errors.Unavailable, match="does not go on with its list"):
        await kube.list_pipelines(None)
    assert asked == ["limit=500", "limit=500", ""]
    with pytest.raises(errors.Gone):
        await kube.get_pipeline("default", "orders")


NOT_KUBERNETES = [
    b"",
    b"<html><body>502</body></html>",
    b"null",
    b"[]",
    b'"text"',
    b"{}",
    b'{"kind": "Status"}',
    b'{"metadata": null}',
    b'{"metadata": []}',
    b'{"metadata": {"uid": "u"',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 10_000,
]


@pytest.mark.parametrize("status", [200, 201, 502])
async def test_an_answer_that_is_not_kubernetes_is_for_later(serve: Any, status: int) -> None:
    body = b""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, content_type="text/html")

    kube = await serve(handler)
    for body in NOT_KUBERNETES:  # noqa: B007 - the handler answers with it
        for error in await call_every_method(kube):
            assert type(error) is errors.Unavailable
            assert error.status in (200, 502)


@pytest.mark.parametrize(
    "metadata",
    [{}, {"uid": "u", "namespace": "default"}, {"uid": None, "namespace": "default", "name": "orders"}, {"name": 3}],
    ids=str,
)
async def test_a_pipeline_without_its_names_is_none(serve: Any, metadata: dict[str, Any]) -> None:
    async def handler(request: web.Request) -> web.Response:
        one = {"metadata": metadata}
        single = request.path.endswith(("/orders", "/status"))
        return web.json_response(one if single else {"metadata": {}, "items": [PIPELINE, one]})

    kube = await serve(handler)
    for call in (
        kube.list_pipelines(None),
        kube.get_pipeline("default", "orders"),
        kube.patch_status("default", "orders", resource_version="1", status={}),
    ):
        with pytest.raises(errors.Unavailable, match="not one of a Kubernetes API"):
            await call


@pytest.mark.parametrize("items", [[None], ["x"], [[]], [{}], [{"metadata": None}]], ids=str)
async def test_a_list_of_something_else_is_none(serve: Any, items: Any) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"metadata": {}, "items": items})

    with pytest.raises(errors.Unavailable):
        await (await serve(handler)).list_pipelines(None)


@pytest.mark.parametrize("items", [None, "text", 3, {}], ids=str)
async def test_a_list_without_items_is_empty(serve: Any, items: Any) -> None:
    """Go writes an empty list as null."""

    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"metadata": {}, "items": items})

    assert await (await serve(handler)).list_pipelines(None) == {}


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("0", 0.0), ("9" * 400, 60.0), ("soon", None), ("-1", None), ("1.5", None)]
)
async def test_retry_after_is_understood_and_bounded(serve: Any, value: str, seconds: float | None) -> None:
    async def handler(_: web.Request) -> web.Response:
        return refuse(429, "TooManyRequests", **{"Retry-After": value})

    for error in await call_every_method(await serve(handler)):
        assert error.retry_after == seconds


async def test_a_message_is_one_bounded_line_whatever_the_server_says(serve: Any) -> None:
    async def handler(_: web.Request) -> web.Response:
        return refuse(403, "Forbidden", "no\r\n\x1b[31m\ud800" + "x" * 300_000)

    for error in await call_every_method(await serve(handler)):
        assert str(error).isprintable()
        assert len(str(error)) <= errors.MESSAGE_LENGTH


async def test_nobody_at_the_port_is_for_later(connect: Any) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for error in await call_every_method(connect(f"http://127.0.0.1:{nobody.getsockname()[1]}")):
            assert type(error) is errors.Unavailable
            assert "the connection failed" in str(error)


async def test_an_unknown_host_is_for_later(connect: Any) -> None:
    with pytest.raises(errors.Unavailable, match="the connection failed"):
        await connect("http://no-such-host.invalid").get_pipeline("default", "orders")


async def test_silence_ends_with_the_timeout(serve: Any) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    kube = await serve(handler, timeout_seconds=0.1)
    for error in await call_every_method(kube):
        assert (type(error), str(error)) == (errors.Unavailable, "no answer in time")


async def test_credentials_that_no_header_takes_are_for_later(connect: Any, server: KubeServer) -> None:
    for error in await call_every_method(connect(server.url, token="two\r\nlines")):
        assert type(error) is errors.Unavailable
