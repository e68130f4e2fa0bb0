"""For all tests: no verdict by the clock, logs as they were, and no error for a file left out whole."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A service that a test starts in this process says for all of it what is logged, and where."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Pants runs one file at a time with -m 'not slow' and takes "nothing collected" for an error."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.getoption("markexpr"):
        session.exitstatus = pytest.ExitCode.OK
