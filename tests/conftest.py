"""Fixtures that all tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.stage import Stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """Both simulated servers."""
    async with Stage(tmp_path) as stage:
        yield stage
