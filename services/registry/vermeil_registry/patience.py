"""Connections to Postgres that give up on a server which says nothing: frozen, or behind a dead network.

The driver waits for an answer for good, so that a few such calls would take all of the registry's threads
with them. A connection that was given up is closed, and the pool makes new ones. The server may never hear
of that: it is told at the beginning to be as patient and no more, or else the transactions of a lost
connection would keep their locks for hours. Connections on which nobody says anything are asked after
by the system, at both ends: it finds within a minute that one is dead, where two hours are usual.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from sqlalchemy import Connection, text

T = TypeVar("T")
ANSWER_SECONDS = 15.0
"""For any statement; those of the registry take milliseconds."""
_LOOK_SECONDS = 0.1
_CONNECT: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "client_encoding": "utf8",  # a server without a locale says SQL_ASCII, and the driver then gives bytes
}
"""libpq's, unless the URL says otherwise."""
_LIMITS = ("statement_timeout", "idle_in_transaction_session_timeout")


class PatientConnection(psycopg.Connection[Any]):
    """Waits for an answer, but not for good; nor does the server for a next statement, or for a lock."""

    waits_for_good = False

    @classmethod
    def open(cls, *given: Any, options: str = "", **parameters: Any) -> "PatientConnection":
        """Connect; settings in `options` and `parameters` go before ours."""
        wanted = _CONNECT | parameters
        limits = [f"-c {name}={ANSWER_SECONDS * 1000:.0f}" for name in _LIMITS]
        asking = [f"-c tcp_{name}={wanted[name]}" for name in _CONNECT if "keepalives" in name]
        return cls.connect(*given, options=" ".join([*limits, *asking, options]), **wanted)

    def wait(self, gen: PQGen[T], interval: float = _LOOK_SECONDS, timeout: float | None = None) -> T:
        """The driver's one place where it waits."""
        limit = None if self.waits_for_good else ANSWER_SECONDS
        try:
            return super().wait(gen, interval, limit if timeout is None else timeout)
        except _WaitTimeout as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {ANSWER_SECONDS:g} s") from error


@contextmanager
def waiting_for_good(connection: Connection) -> Iterator[None]:
    """While it lasts, statements take what they take: changing big tables does, and others wait.

    The next statement may be ten minutes in coming: a machine with too much to do needs more than usual.
    """
    driver: Any = connection.connection.driver_connection
    driver.waits_for_good = True
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = '10min'"))
    try:
        yield
    finally:
        driver.waits_for_good = False
