"""Rows of quotas, and of jobs as they wait: who has how many, and whose turn it is."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, case, func, or_, select, text, update
from vermeil_jobs import JobState, Limits, Priority
from vermeil_jobs.storage import HELD, READY, RUNNING

from vermeil_registry.rows import COLUMNS
from vermeil_registry.tables import JOBS, QUOTAS

_PENDING, _RUNNING = JobState.PENDING.value, JobState.RUNNING.value
_READY = (JOBS.c.state == _PENDING) & (JOBS.c.num_waiting == 0)

# Both kinds of database know this, and SQLAlchemy has no word for it that both share.
_HAVE_A_ROW = text("INSERT INTO quotas (owner) VALUES (:owner) ON CONFLICT DO NOTHING")
_LIMITS = select(QUOTAS).where(QUOTAS.c.owner == bindparam("owner"))
_HOLD_LIMITS = _LIMITS.with_for_update()
_COUNT = (
    select(func.count())
    .select_from(JOBS)
    .where(JOBS.c.owner == bindparam("owner"), JOBS.c.state == bindparam("state"))
)
_QUEUES = select(JOBS.c.queue).where(JOBS.c.owner == bindparam("owner"), _READY).distinct()
_IN_QUEUE = JOBS.c.queue == bindparam("queue")
_LAST_RUNNING = select(func.max(JOBS.c.turn)).where(_IN_QUEUE, JOBS.c.state == _RUNNING)
_FIRST_WAITING = (
    select(JOBS.c.priority, func.min(JOBS.c.turn))
    .where(_IN_QUEUE, JOBS.c.state == _PENDING)
    .group_by(JOBS.c.priority)
)
_LAST_OF_OWNER = select(func.max(JOBS.c.turn)).where(
    _IN_QUEUE,
    JOBS.c.state == _PENDING,
    JOBS.c.owner == bindparam("owner"),
    JOBS.c.priority == bindparam("priority"),
)
_RING_SOON = update(JOBS).where(JOBS.c.owner == bindparam("whose"), _READY, JOBS.c.ready_time.is_(None))
_MOST = func.coalesce(QUOTAS.c.max_running, bindparam("default"))
_FULL = (
    select(JOBS.c.owner)
    .outerjoin(QUOTAS, QUOTAS.c.owner == JOBS.c.owner)
    .where(JOBS.c.state == _RUNNING)
    .group_by(JOBS.c.owner, QUOTAS.c.max_running)
    .having(and_(_MOST > 0, func.count() >= _MOST))
)

_PART = case((JOBS.c.state == _RUNNING, RUNNING), (JOBS.c.num_waiting == 0, READY), else_=HELD)
_LENGTHS = (
    select(JOBS.c.queue, _PART.label("part"), func.count())
    .where(JOBS.c.state.in_([_PENDING, _RUNNING]))
    .group_by(JOBS.c.queue, text("part"))
)


def whose_turn(
    queue: str, now: datetime, kinds: Collection[str], owner: str, without: Collection[str]
) -> Select[Any]:
    """Asks for the ready job of a queue that is to be handed out next."""
    query = (
        select(*COLUMNS)
        .where(JOBS.c.queue == queue, _READY, or_(JOBS.c.ready_time.is_(None), JOBS.c.ready_time <= now))
        .order_by(JOBS.c.turn, JOBS.c.number)
        .limit(1)
    )
    if kinds:
        query = query.where(JOBS.c.kind.in_(kinds))
    if owner:
        query = query.where(JOBS.c.owner == owner)
    return query.where(JOBS.c.owner.not_in(without)) if without else query


class Turns:
    """The part of a transaction that is about quotas and turns."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def queues(self, owner: str) -> list[str]:
        """Where the owner has jobs that wait for nothing but a worker."""
        return sorted(self._connection.scalars(_QUEUES, {"owner": owner}))

    def running_turn(self, queue: str) -> int | None:
        """The greatest turn of the queue's jobs that run; None where none does."""
        turn: int | None = self._connection.scalar(_LAST_RUNNING, {"queue": queue})
        return turn

    def first_turns(self, queue: str) -> dict[Priority, int]:
        """The smallest turn of the queue's jobs that wait, by priority."""
        rows = self._connection.execute(_FIRST_WAITING, {"queue": queue})
        known = Priority.__members__  # a newer version may know more
        return {Priority(priority): turn for priority, turn in rows if priority in known}

    def last_turn(self, queue: str, owner: str, priority: Priority) -> int | None:
        """The greatest turn of the owner's waiting jobs of a priority; None where none waits."""
        keys = {"queue": queue, "owner": owner, "priority": priority.value}
        turn: int | None = self._connection.scalar(_LAST_OF_OWNER, keys)
        return turn

    def limits(self, owner: str, *, hold: bool = False) -> Limits | None:
        """The owner's own limits; with `hold`, its row is locked where the database can."""
        if hold:
            self._connection.execute(_HAVE_A_ROW, {"owner": owner})
        row = self._connection.execute(_HOLD_LIMITS if hold else _LIMITS, {"owner": owner}).first()
        return None if row is None or row.max_running is None else Limits(row.max_running, row.max_waiting)

    def set_limits(self, owner: str, limits: Limits | None) -> None:
        """Give an owner limits of its own, or take them away."""
        self._connection.execute(_HAVE_A_ROW, {"owner": owner})
        values = {"max_running": None, "max_waiting": None} if limits is None else asdict(limits)
        self._connection.execute(update(QUOTAS).where(QUOTAS.c.owner == owner).values(values))

    def count(self, owner: str, state: JobState) -> int:
        """How many jobs the owner has in a state."""
        return self._connection.scalar(_COUNT, {"owner": owner, "state": state.value}) or 0

    def full(self, default: Limits) -> list[str]:
        """Owners with as many running jobs as they may have, by their own limits or the default."""
        return list(self._connection.scalars(_FULL, {"default": default.max_running}))

    def owners(self, *, after: str, limit: int) -> list[str]:
        """Who has jobs that are not over, or limits of its own, and a name greater than `after`, by name."""
        busy = select(JOBS.c.owner).where(JOBS.c.state.in_([_PENDING, _RUNNING]))
        bounded = select(QUOTAS.c.owner).where(QUOTAS.c.max_running.is_not(None))
        known = busy.union(bounded).subquery()
        query = select(known.c.owner).where(known.c.owner > after).order_by(known.c.owner).limit(limit)
        return list(self._connection.scalars(query))

    def lengths(self) -> dict[tuple[str, str], int]:
        """How many jobs each queue has that run, are ready, and are held."""
        return {(queue, part): number for queue, part, number in self._connection.execute(_LENGTHS)}

    def ring_soon(self, owner: str, now: datetime) -> None:
        """Let the sweeper look at once at all jobs of the owner that wait for nothing but a worker."""
        self._connection.execute(_RING_SOON, {"whose": owner, "ring_time": now, "num_rings": 0})
