"""One gateway for the whole session; starting one for each test would take most of the time."""

from collections.abc import Iterator

import pytest
from vermeil_gateway.testing import Running, running_gateway


@pytest.fixture(scope="session")
def _running() -> Iterator[Running]:
    with running_gateway() as it:
        yield it


@pytest.fixture
def gateway(_running: Running) -> Running:
    """The session's gateway with its fakes as new."""
    _running.backends.generation.requests.clear()
    _running.backends.generation.image_requests.clear()
    _running.backends.generation.headers.clear()
    _running.backends.generation.refusal = None
    _running.backends.jobs.jobs.clear()
    return _running
