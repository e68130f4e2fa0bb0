"""A Postgres that says nothing is given up, and found again once it speaks."""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from sqlalchemy import Connection, text
from vermeil_errors import Unavailable
from vermeil_registry import patience
from vermeil_registry.database import Database
from vermeil_registry.migrate import LOCK, migrate
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


def test_who_migrates_waits_for_another_as_long_as_that_takes(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.new_database()
    database, other = Database(url), Database(url)
    locked, may_end = threading.Event(), threading.Event()

    def keep_waiting(connection: Connection) -> None:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
        locked.set()
        may_end.wait(60)

    with ThreadPoolExecutor() as threads:
        holding = threads.submit(other.write, keep_waiting)
        assert locked.wait(60)
        monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.5)
        migrating = threads.submit(migrate, database)
        done, _ = wait([migrating], timeout=2)
        assert not done
        monkeypatch.setattr(patience, "ANSWER_SECONDS", 60.0)
        may_end.set()
        holding.result(60)
        migrating.result(60)
    database.close()
    other.close()
