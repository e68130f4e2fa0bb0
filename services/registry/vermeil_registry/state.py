"""How a database is, for `vermeil doctor`: its form beside the one this version knows, and its clock."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, text

from vermeil_registry.database import Database
from vermeil_registry.migrate import revision, revisions


@dataclass(frozen=True)
class State:
    """What was seen."""

    kind: str
    """sqlite or postgresql."""
    revision: str | None
    """Its form; None if it has no tables yet."""
    newest: str
    """The form that this version knows."""
    skew_seconds: float
    """How far its clock is surely ahead of this machine's."""


def skew_seconds(told: datetime, before: datetime, after: datetime, *, told_within: float = 0.0) -> float:
    """How far a clock is surely ahead of ours, or behind it: an answer that takes its time makes it no worse.

    Args:
        told: What it told.
        before: When it was asked, by our clock.
        after: When it had answered.
        told_within: By so many seconds it was at most later than it told.
    """
    least = (told - after).total_seconds()
    most = (told - before).total_seconds() + told_within
    return max(least, min(most, 0.0))


def look(url: str) -> State:
    """Connect and ask; changes nothing.

    Raises:
        InvalidInput: The URL names no database.
        Unavailable: It does not answer.
    """
    database = Database(url)

    def work(connection: Connection) -> State:
        skew = 0.0
        if not database.is_sqlite:
            before = datetime.now(UTC)
            told: datetime = connection.scalar(text("SELECT clock_timestamp()"))
            skew = skew_seconds(told, before, datetime.now(UTC))
        kind = connection.dialect.name
        return State(kind, revision(connection), revisions()[-1], skew)

    try:
        return database.read(work)
    finally:
        database.close()
