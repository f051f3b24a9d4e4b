"""The log as people and machines read it."""

import json
import logging

import pytest

from pipeline_approver import logs


@pytest.fixture(params=["text", "json"])
def form(request: pytest.FixtureRequest) -> str:
    form: str = request.param
    return form


def write(form: str, name: str, message: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Level and message of an error as it comes out."""
    root, before, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    try:
        logs.configure_logging(level="info", form=form)
        logging.getLogger(name).error(message)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    line = capsys.readouterr().err
    if form == "json":
        entry = json.loads(line)
        return entry["level"].upper(), entry["message"]
    _, word, text = line.strip().split(maxsplit=2)
    return word, text


@pytest.mark.parametrize(
    ("name", "message", "level"),
    [
        ("kopf._cogs.clients.api", "Request attempt #1/9 failed; will retry: GET https://api -> gone", "WARNING"),
        ("kopf._cogs.clients.api", "Request attempt #9/9 failed; escalating: GET https://api -> gone", "ERROR"),
        ("pipeline_approver", "the status was not kept, and the operator will retry", "ERROR"),
    ],
)
def test_only_the_last_of_several_attempts_is_an_error(
    form: str, name: str, message: str, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write(form, name, message, capsys) == (level, message)
