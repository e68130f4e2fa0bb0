"""Forgetting: log lines of jobs that ended long ago, and old audit events, where an operator wants that.

Rows of jobs stay for good: versions name the job that made them. Removed is a little at a time, so that
nobody waits: SQLite has one writer, and Postgres' statements have 15 s.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Delete, bindparam, delete, exists, select
from vermeil_jobs.job import utc_now

from vermeil_registry.database import Database
from vermeil_registry.tables import AUDIT_EVENTS, JOBS, LINES

_JOBS_AT_ONCE = 20
"""Each has ten thousand lines at most."""
_EVENTS_AT_ONCE = 5_000
_ENDED = (
    select(JOBS.c.number, JOBS.c.name)
    .where(
        JOBS.c.end_time < bindparam("before"),
        JOBS.c.number > bindparam("after"),
        exists().where(LINES.c.job == JOBS.c.name),
    )
    .order_by(JOBS.c.number)
    .limit(bindparam("most"))
)
_LINES = delete(LINES).where(LINES.c.job.in_(bindparam("jobs", expanding=True)))
_OLD_EVENTS = (
    select(AUDIT_EVENTS.c.number)
    .where(AUDIT_EVENTS.c.time < bindparam("before"))
    .order_by(AUDIT_EVENTS.c.number)
    .limit(bindparam("most"))
)
_EVENTS = delete(AUDIT_EVENTS).where(AUDIT_EVENTS.c.number.in_(_OLD_EVENTS))


def forget(
    database: Database,
    say: Callable[[str], None],
    *,
    keep_lines_days: int,
    keep_audit_days: int,
    clock: Callable[[], datetime] = utc_now,
) -> None:
    """Remove log lines of jobs that ended that long ago, and audit events that old; 0 keeps all."""
    if keep_lines_days:
        num_lines = _forget_lines(database, clock() - timedelta(days=keep_lines_days))
        say(f"{num_lines} log lines of jobs that ended more than {keep_lines_days} days ago removed")
    if keep_audit_days:
        num_events = _forget_events(database, clock() - timedelta(days=keep_audit_days))
        say(f"{num_events} audit events older than {keep_audit_days} days removed")


def _forget_lines(database: Database, before: datetime) -> int:
    number = removed = 0

    def ended(connection: Connection) -> list[tuple[int, str]]:
        return [
            (each.number, each.name)
            for each in connection.execute(_ENDED, {"before": before, "after": number, "most": _JOBS_AT_ONCE})
        ]

    while jobs := database.read(ended):
        number, names = jobs[-1][0], [name for _, name in jobs]
        removed += database.write(partial(_remove, _LINES, {"jobs": names}))
    return removed


def _forget_events(database: Database, before: datetime) -> int:
    removed = 0
    while some := database.write(partial(_remove, _EVENTS, {"before": before, "most": _EVENTS_AT_ONCE})):
        removed += some
    return removed


def _remove(statement: Delete, values: dict[str, Any], connection: Connection) -> int:
    return connection.execute(statement, values).rowcount
