"""Fixtures that all tests share, and how long they search for counter-examples."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from support.stage import Stage

# A short search with every run, a long one with HYPOTHESIS_PROFILE=long. No deadline: nothing here is timed.
hypothesis.settings.register_profile("suite", max_examples=60, deadline=None)
hypothesis.settings.register_profile("long", max_examples=5000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator["Stage"]:
    """Both simulated servers."""
    # Here, and not above: tests of the pure rules need neither server.
    from support.stage import Stage

    async with Stage(tmp_path) as stage:
        yield stage
