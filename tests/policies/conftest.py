"""API servers with policies; each stands for a way to install them."""

import pytest

from support.admission import Admission
from support.people import build


@pytest.fixture(scope="module")
def approve_verb() -> Admission:
    return build("approve-verb")


@pytest.fixture(scope="module")
def approved_by() -> Admission:
    return build("approve-verb", "approved-by")


@pytest.fixture(scope="module")
def four_eyes() -> Admission:
    return build("approve-verb", "approved-by", "four-eyes")
