"""One gateway for the whole session; starting one for each test would take most of the time."""

from collections.abc import Iterator

import pytest
from vermeil_gateway import clients, wiring
from vermeil_gateway.testing import Running, running_gateway


@pytest.fixture(scope="module", autouse=True)
def _patience() -> Iterator[None]:
    """Who stands still for some seconds here is busy, and not away."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(clients, "KEY_SECONDS", 60.0)
        patched.setattr(clients, "HEALTH_SECONDS", 60.0)
        patched.setattr(wiring, "_LAST_WORDS_SECONDS", 60)
        yield


@pytest.fixture(scope="session")
def _running() -> Iterator[Running]:
    with running_gateway() as it:
        yield it


@pytest.fixture
def gateway(_running: Running) -> Iterator[Running]:
    """The session's gateway with its fakes as new; what a test began there is over with it."""
    _running.backends.generation.requests.clear()
    _running.backends.generation.image_requests.clear()
    _running.backends.generation.headers.clear()
    _running.backends.generation.refusal = None
    _running.backends.jobs.jobs.clear()
    yield _running
    _running.settle()
