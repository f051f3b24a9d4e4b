"""Every request that the client can send is in Feldera's own description of its API."""

import inspect
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from pipeline_approver.feldera import errors
from pipeline_approver.feldera.client import FelderaClient
from support.openapi import load_description

INCARNATION = "0199c0de-0000-7000-8000-00000000000f"
FLAGS = list(itertools.product((False, True), repeat=2))

# Every method of the client, with every kind of argument.
CALLS: dict[str, list[Callable[[FelderaClient], Awaitable[Any]]]] = {
    "list_pipelines": [lambda client: client.list_pipelines()],
    "get_pipeline": [lambda client: client.get_pipeline("Orders_2")],
    "get_program": [lambda client: client.get_program("orders")],
    "diff": [
        lambda client: client.diff("orders", program_code="CREATE TABLE t (a INT);", runtime_version=None),
        lambda client: client.diff("orders", program_code="", runtime_version="0.337.0"),
    ],
    "approve": [
        (lambda client, pair=pair: client.approve("orders", silent=pair[0], concurrent=pair[1])) for pair in FLAGS
    ],
    "stop": [lambda client: client.stop("orders")],
    "request_checkpoint": [lambda client: client.request_checkpoint("orders")],
    "checkpoint_status": [
        lambda client: client.checkpoint_status("orders", incarnation=None),
        lambda client: client.checkpoint_status("orders", incarnation=INCARNATION),
    ],
}


def test_every_method_of_the_client_is_looked_at() -> None:
    methods = {name for name, _ in inspect.getmembers(FelderaClient, inspect.iscoroutinefunction) if name[0] != "_"}
    assert methods - {"aclose"} == set(CALLS)


@pytest.mark.parametrize("method", CALLS)
async def test_its_requests_are_described(client_of: Any, method: str) -> None:
    description = load_description()
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(500)

    client = client_of(answer)
    for call in CALLS[method]:
        with pytest.raises(errors.FelderaError):
            await call(client)
    assert len(seen) == len(CALLS[method])
    for request in seen:
        description.check_request(request)
