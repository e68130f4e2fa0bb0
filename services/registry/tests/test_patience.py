"""A Postgres that says nothing is given up, and found again once it speaks."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress

import psycopg
import pytest
from sqlalchemy import Connection, text
from vermeil_errors import Unavailable
from vermeil_registry import patience
from vermeil_registry.database import Database
from vermeil_registry.migrate import LOCK, migrate
from vermeil_testing import Postgres, postgres


def wait_at_most(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, and new connections in the server too."""
    monkeypatch.setattr(patience, "ANSWER_SECONDS", seconds)
    monkeypatch.setitem(patience._CONNECT, "connect_timeout", max(2, int(seconds)))


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
    wait_at_most(0.5, monkeypatch)
    server.signal(signal.SIGSTOP)
    with pytest.raises(Unavailable):
        database.is_alive()
    wait_at_most(120, monkeypatch)
    server.signal(signal.SIGCONT)
    assert database.is_alive()
    database.close()


def test_a_server_without_a_locale_speaks_utf8(server: Postgres) -> None:
    """Its databases have no encoding; a URL may say another for the connection."""
    url = server.new_database()
    name = url.rpartition("/")[2]
    server.sql(f"CREATE DATABASE {name}_c TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    database = Database(f"{url}_c")
    migrate(database)
    with database.engine.begin() as connection:
        assert connection.execute(text("SELECT 'Füße'")).scalar() == "Füße"
    database.close()


def test_a_migration_that_is_slow_between_two_statements_is_not_ended(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, impatient = (Database(url) for url in [server.new_database()] * 2)
    with database.engine.begin() as connection, patience.waiting_for_good(connection):
        wait_at_most(0.5, monkeypatch)
        connection.execute(text("SELECT pg_sleep(1.5)"))
        limits = [connection.scalar(text(f"SHOW {name}")) for name in patience._LIMITS]
        wait_at_most(120, monkeypatch)
    assert limits == ["0", "10min"]

    def dawdle(connection: Connection) -> None:
        connection.execute(text("SELECT 1"))
        time.sleep(1.5)
        connection.execute(text("SELECT 1"))

    wait_at_most(0.5, monkeypatch)
    with pytest.raises(Unavailable):
        impatient.write(dawdle)
    database.close()
    impatient.close()


def test_both_ends_find_out_that_an_idle_connection_is_dead(server: Postgres) -> None:
    """How long the system waits until it asks; two hours where nobody says."""
    url = server.new_database()

    def waits(connection: Connection) -> tuple[int, str]:
        driver = connection.connection.driver_connection
        assert driver is not None
        with socket.socket(fileno=os.dup(driver.fileno())) as ours:
            seconds = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        return seconds, str(connection.scalar(text("SHOW tcp_keepalives_idle")))

    databases = Database(url), Database(f"{url}?keepalives_idle=77")
    assert [each.read(waits) for each in databases] == [(30, "30"), (77, "77")]
    for each in databases:
        each.close()


def write_the_row(connection: Connection) -> None:
    connection.execute(text("UPDATE things SET number = number + 1"))


def with_a_row(server: Postgres) -> str:
    url = server.new_database()
    database = Database(url)
    database.write(lambda connection: connection.execute(text("CREATE TABLE things AS SELECT 1 AS number")))
    database.close()
    return url


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.1)


def num_waiting(server: Postgres, url: str) -> int:
    """How many connections to a database wait for a lock."""
    name = url.rpartition("/")[2]
    waiting = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = '{name}'"
    return int(server.sql(waiting))


def test_what_a_lost_connection_had_locked_is_free_again(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a network that went mute, the server waits for the transaction's next statement."""
    url = with_a_row(server)
    wait_at_most(1, monkeypatch)
    database, lost = Database(url), Database(url)
    locked, may_end = threading.Event(), threading.Event()

    def get_lost(connection: Connection) -> None:
        write_the_row(connection)
        locked.set()
        may_end.wait(300)
        connection.execute(text("SELECT 1"))

    def hold() -> None:
        while True:
            try:
                return lost.write(get_lost)
            except Unavailable:  # before it had the row: somebody stood still for a second
                if locked.is_set():
                    raise

    def is_free() -> bool:
        with suppress(Unavailable):
            database.write(write_the_row)
            return True
        return False

    with ThreadPoolExecutor() as threads:
        holding = threads.submit(hold)
        try:
            assert locked.wait(120)
            eventually(is_free)
        finally:
            may_end.set()
        with pytest.raises(Unavailable):
            holding.result(120)
    database.close()
    lost.close()


def test_who_gave_up_waiting_for_a_lock_does_not_wait_on_in_the_server(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = with_a_row(server)
    wait_at_most(0.5, monkeypatch)
    database = Database(url)
    with psycopg.connect(url.replace("+psycopg", "")) as holder:
        holder.execute("UPDATE things SET number = 5")
        with pytest.raises(Unavailable):
            database.write(write_the_row)
        eventually(lambda: num_waiting(server, url) == 0)
    database.close()


def test_who_migrates_waits_for_another_as_long_as_that_takes(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.new_database()
    database, other = Database(url), Database(url)
    locked, may_end = threading.Event(), threading.Event()
    migrate(database, to="0001")  # where the table of the revision is there already

    def keep_waiting(connection: Connection) -> None:
        for statement in LOCK:
            connection.execute(text(statement))
        locked.set()
        assert may_end.wait(100)

    waiting_for_good = patience.waiting_for_good

    @contextmanager
    def waiting_for_longer_than_others(connection: Connection) -> Iterator[None]:
        with waiting_for_good(connection):
            wait_at_most(0.5, monkeypatch)
            yield
            wait_at_most(120, monkeypatch)

    monkeypatch.setattr(patience, "waiting_for_good", waiting_for_longer_than_others)
    with ThreadPoolExecutor() as threads:
        holding = threads.submit(other.write, keep_waiting)
        try:
            assert locked.wait(60)
            migrating = threads.submit(migrate, database)
            eventually(lambda: num_waiting(server, url) == 1)
            done, _ = wait([migrating], timeout=1.5)
            assert not done
        finally:
            may_end.set()
        holding.result(60)
        migrating.result(60)
    database.close()
    other.close()
