"""For all tests: leaving out the slow ones of a file that has no others is no failure."""

import pytest


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Pants runs one file at a time with -m 'not slow' and takes "nothing collected" for an error."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.getoption("markexpr"):
        session.exitstatus = pytest.ExitCode.OK
