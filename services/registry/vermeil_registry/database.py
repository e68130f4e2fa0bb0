"""Database: an engine with the right settings, and transactions that happen whole or again.

SQLite: write-ahead log, one writer at a time in this process, `synchronous=NORMAL` (a power cut may
take the last moments, never the file); who finds it locked by others is told so after 4 s, before its
own caller has given up, and may ask again. Postgres: READ COMMITTED; revisions catch lost updates; a
server that does not answer for 15 s is given up.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, StatementError
from vermeil_errors import InvalidInput, OutOfSpace, Unavailable, VermeilError

T = TypeVar("T")
_LOCKED_SECONDS = 4.0
_ATTEMPTS = 20
_OPTIONS: dict[str, dict[str, Any]] = {
    "sqlite": {"connect_args": {"timeout": _LOCKED_SECONDS, "check_same_thread": False}},
    "postgresql": {"pool_pre_ping": True},
}
_SERIALIZATION_FAILURES = ("40001", "40P01")


class _Away(Unavailable):
    """Tells who runs the registry why the database does not answer, and callers that it is so."""

    @property
    def public_message(self) -> str:
        return "the database does not answer; try again shortly"


class LostRace(Exception):  # noqa: N818
    """Somebody else has changed the row since it was read."""


class Database:
    """Where all rows are; safe from any thread."""

    def __init__(self, url: str) -> None:
        self.engine = _make_engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._writing = self.engine.execution_options(vermeil_writing=True)
        self._one_writer = threading.Lock()

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction; again from the start if another one was quicker."""
        end = time.monotonic() + _LOCKED_SECONDS
        last: Exception | None = None
        for attempt in range(_ATTEMPTS):
            try:
                with self._alone():
                    return self._run(self._writing, work)
            except (LostRace, DBAPIError) as error:
                if not _may_pass(error):
                    raise _translated(error) from error
                if _is_locked(error) and time.monotonic() >= end:
                    raise self._locked() from error
                last = error
                time.sleep(0.002 * attempt)
        if isinstance(last, IntegrityError):  # no race: those are over when the rows are read anew
            raise last
        # Not a Conflict: a worker would take that for the last word on how its job ended.
        raise Unavailable(
            "too many others change the same rows at once; nothing was written", fix="try again in a moment"
        ) from last

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, which only reads, on one state of the rows."""
        try:
            return self._run(self.engine, work)
        except DBAPIError as error:
            raise _translated(error) from error

    def is_alive(self) -> bool:
        """True if the database answers."""
        return self.read(lambda connection: bool(connection.scalar(text("SELECT 1"))))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """SQLite has one writer: threads take turns, and do not wait longer than for other processes."""
        if not self.is_sqlite:
            yield
        elif not self._one_writer.acquire(timeout=_LOCKED_SECONDS):
            raise self._locked()
        else:
            try:
                yield
            finally:
                self._one_writer.release()

    def _locked(self) -> VermeilError:
        return _Away(
            f"VERMEIL_DATABASE_URL = {self.engine.url}: somebody has had the database locked for "
            f"{_LOCKED_SECONDS:g} s, nothing was written",
            fix="let no second registry and no other program write to that file; then ask again",
        )

    @staticmethod
    def _run(engine: Engine, work: Callable[[Connection], T]) -> T:
        try:
            with engine.begin() as connection:
                return work(connection)
        except StatementError as error:
            if isinstance(error.orig, VermeilError):  # of a column that refuses the value
                raise error.orig from error
            raise


def _make_engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        options = _OPTIONS[parsed.get_backend_name()]
        engine = create_engine(parsed, **options)
    except (ArgumentError, NoSuchModuleError, ImportError, KeyError) as error:
        raise InvalidInput(
            f"VERMEIL_DATABASE_URL names no database we know: {error}",
            fix="write sqlite:///file or postgresql+psycopg://user:password@host/name",
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "do_connect", _connect_patiently)
    return engine


def _connect_patiently(_dialect: object, _record: object, arguments: Any, options: Any) -> Any:
    from vermeil_registry.patience import PatientConnection  # noqa: PLC0415  the driver is an extra

    return PatientConnection.open(*arguments, **options)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("vermeil_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _may_pass(error: Exception) -> bool:
    if isinstance(error, LostRace | IntegrityError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlstate", None)
    return code in _SERIALIZATION_FAILURES or _is_locked(error)


def _is_locked(error: Exception) -> bool:
    return "database is locked" in str(getattr(error, "orig", error))


def _translated(error: Exception) -> VermeilError:
    said = str(getattr(error, "orig", error))
    if "disk is full" in said or getattr(getattr(error, "orig", None), "sqlstate", None) == "53100":
        return OutOfSpace("the database has no space left", fix="free some space, then retry")
    return _Away(f"the database does not answer: {said}", fix="check VERMEIL_DATABASE_URL and that it runs")
