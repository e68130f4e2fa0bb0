"""A Postgres that says nothing is given up, and found again once it speaks."""

import signal
from collections.abc import Iterator

import pytest
from vermeil_errors import Unavailable
from vermeil_registry import patience
from vermeil_registry.database import Database
from vermeil_testing import Postgres, postgres


@pytest.fixture
def server() -> Iterator[Postgres]:
    server = postgres()
    yield server
    server.signal(signal.SIGCONT)


def test_a_frozen_database_is_given_up_and_used_again_when_it_wakes(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(server.new_database())
    assert database.is_alive()
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.5)
    server.signal(signal.SIGSTOP)
    with pytest.raises(Unavailable):
        database.is_alive()
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 60.0)
    server.signal(signal.SIGCONT)
    assert database.is_alive()
    database.close()
