"""Fixtures that all tests share."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.stage import Stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator["Stage"]:
    """Both simulated servers."""
    # Here, and not above: tests of the pure rules need neither server.
    from support.stage import Stage

    async with Stage(tmp_path) as stage:
        yield stage
