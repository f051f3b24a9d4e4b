"""What the tests on a real API server share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.real import RealStage


@pytest.fixture
async def ground(tmp_path: Path, cluster: Cluster) -> AsyncIterator[RealStage]:
    """A namespace for one test, and a simulated Feldera; at the end, no request of the operator was refused."""
    async with RealStage(tmp_path, cluster) as stage:
        yield stage
