"""SqlStorage: the ledger's storage over the database.

Statements are made once, so that a request pays for running them and not for building them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, RowMapping, Select, bindparam, delete, func, insert, select, update
from vermeil_artifacts import ArtifactRef
from vermeil_errors import DataCorrupted
from vermeil_jobs.job import JobState, LogLine, NewDatasetVersion, NewModelVersion
from vermeil_jobs.storage import Record, Transaction, unseen
from vermeil_telemetry import get_logger

from vermeil_registry.database import Database, LostRace
from vermeil_registry.rows import COLUMNS, changing_values, fixed_values, to_record
from vermeil_registry.tables import JOBS, LINES, SUCCESSORS
from vermeil_registry.turns import Turns, whose_turn
from vermeil_registry.versions import add_artifact, add_version

T = TypeVar("T")
_logger = get_logger(__name__)
_AMONG_LAST = 1_000
"""Lines that others may have written between those of a heartbeat and the same sent again."""

_FIND = select(*COLUMNS).where(JOBS.c.name == bindparam("name"))
_HOLD = _FIND.with_for_update()
_FIND_REQUEST = select(*COLUMNS).where(
    JOBS.c.owner == bindparam("owner"), JOBS.c.request_id == bindparam("request_id")
)
_INSERT = insert(JOBS).returning(JOBS.c.number)
_SAVE = update(JOBS).where(
    JOBS.c.number == bindparam("old_number"), JOBS.c.revision == bindparam("old_revision")
)
_SUCCESSORS = select(SUCCESSORS.c.successor).where(SUCCESSORS.c.predecessor == bindparam("name"))
_DUE = (
    select(JOBS.c.name)
    .where(JOBS.c.ring_time <= bindparam("now"))
    .order_by(JOBS.c.ring_time)
    .limit(bindparam("limit"))
)
_LINES_SINCE = select(LINES).where(
    LINES.c.job == bindparam("job"), LINES.c.number > bindparam("after"), LINES.c.time >= bindparam("since")
)
_LAST_LINE = select(func.max(LINES.c.number)).where(LINES.c.job == bindparam("job"))
_TRIM = delete(LINES).where(LINES.c.job == bindparam("job"), LINES.c.number <= bindparam("end"))
_LINES = (
    select(LINES)
    .where(LINES.c.job == bindparam("job"), LINES.c.number > bindparam("after"))
    .order_by(LINES.c.number)
    .limit(bindparam("limit"))
)


class SqlStorage:
    """Runs the ledger's transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._told: set[str] = set()
        """Names of jobs that cannot be read, each told of once."""

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` so that it happens whole, as if alone, or not at all."""
        return self._database.write(lambda connection: work(SqlTransaction(connection, self._told)))

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work`, which only reads, on one state of the rows."""
        return self._database.read(lambda connection: work(SqlTransaction(connection, self._told)))


class SqlTransaction(Turns):
    """One transaction; a job is saved only over the revision that was found.

    A job that cannot be read is an error for who asks for it by name; of several it is left out.
    """

    def __init__(self, connection: Connection, told: set[str]) -> None:
        super().__init__(connection)
        self._told = told
        self._revisions: dict[int, int] = {}

    def find(self, name: str, *, hold: bool = False) -> Record | None:
        """A job; with `hold`, its row is locked where the database can."""
        return self._record(_HOLD if hold else _FIND, {"name": name})

    def find_request(self, owner: str, request_id: str) -> Record | None:
        """The job that this request made."""
        return self._record(_FIND_REQUEST, {"owner": owner, "request_id": request_id})

    def insert(self, record: Record) -> Record:
        """Add a job."""
        values = {**fixed_values(record), **changing_values(record), "revision": 1}
        number = self._connection.scalar(_INSERT, values)
        edges = [{"predecessor": name, "successor": record.name} for name in record.new.after]
        if edges:
            self._connection.execute(insert(SUCCESSORS), edges)
        found = self.find(record.name)
        assert found is not None, number
        return found

    def save(self, record: Record) -> None:
        """Change a job, if nobody else has since it was found."""
        revision = self._revisions[record.number]
        values = {**changing_values(record), "revision": revision + 1}
        keys = {"old_number": record.number, "old_revision": revision}
        if self._connection.execute(_SAVE, {**values, **keys}).rowcount != 1:
            raise LostRace(record.name)
        self._revisions[record.number] = revision + 1

    def successors(self, name: str) -> list[str]:
        """Names of the jobs that wait for this one."""
        return sorted(self._connection.scalars(_SUCCESSORS, {"name": name}))

    def due(self, now: datetime, limit: int) -> list[str]:
        """Names of jobs whose ring_time has come, longest due first."""
        return list(self._connection.scalars(_DUE, {"now": now, "limit": limit}))

    def page(self, *, before: int | None, limit: int, state: JobState | None, kind: str) -> list[Record]:
        """Jobs with a smaller number than `before`, newest first."""
        query = select(*COLUMNS).order_by(JOBS.c.number.desc())
        if state is not None:
            query = query.where(JOBS.c.state == state.value)
        if kind:
            query = query.where(JOBS.c.kind == kind)
        records: list[Record] = []
        while (missing := limit - len(records)) > 0:
            here = query if before is None else query.where(JOBS.c.number < before)
            rows = self._connection.execute(here.limit(missing)).mappings().all()
            records += filter(None, map(self._readable, rows))
            if len(rows) < missing:
                break
            before = rows[-1]["number"]
        return records

    def waiting(
        self,
        queue: str,
        now: datetime,
        *,
        kinds: Collection[str] = (),
        owner: str = "",
        without: Collection[str] = (),
        hold: bool = False,
    ) -> Record | None:
        """The ready job of a queue whose turn it is; with `hold`, one that no other transaction has."""
        query = whose_turn(queue, now, kinds, owner, without)
        if hold:
            query = query.with_for_update(skip_locked=True)
        while (row := self._connection.execute(query).mappings().first()) is not None:
            record = self._readable(row)
            if record is not None:
                self._revisions[record.number] = row["revision"]
                return record
            query = query.where(JOBS.c.number != row["number"])
        return None

    def add_lines(self, name: str, lines: Iterable[LogLine], keep: int) -> None:
        """Append lines, leaving out those already there."""
        lines = list(lines)
        since = min(line.time for line in lines)
        last = self._connection.scalar(_LAST_LINE, {"job": name}) or 0
        after = last - len(lines) - _AMONG_LAST
        rows = self._connection.execute(_LINES_SINCE, {"job": name, "after": after, "since": since})
        fresh = unseen(lines, [LogLine(row.time, row.level, row.text) for row in rows])
        if not fresh:
            return
        values = [
            {"job": name, "number": number, "time": line.time, "level": line.level, "text": line.text}
            for number, line in enumerate(fresh, last + 1)
        ]
        self._connection.execute(insert(LINES), values)
        end = last + len(fresh) - keep
        if end > 0:
            self._connection.execute(_TRIM, {"job": name, "end": end})

    def lines(self, name: str, *, after: int, limit: int) -> list[tuple[int, LogLine]]:
        """Lines with a greater number than `after`, oldest first."""
        rows = self._connection.execute(_LINES, {"job": name, "after": after, "limit": limit})
        return [(row.number, LogLine(row.time, row.level, row.text)) for row in rows]

    def add_artifact(self, ref: ArtifactRef, job: str, now: datetime) -> None:
        """Register an artifact unless it is registered already."""
        add_artifact(self._connection, ref, job, now)

    def add_version(self, version: NewDatasetVersion | NewModelVersion, job: str, now: datetime) -> str:
        """Register a version under the next number of its line."""
        return add_version(self._connection, version, job, now)

    def _record(self, query: Select[Any], keys: Mapping[str, str]) -> Record | None:
        row = self._connection.execute(query, keys).mappings().first()
        if row is None:
            return None
        self._revisions[row["number"]] = row["revision"]
        return to_record(row)

    def _readable(self, row: RowMapping) -> Record | None:
        try:
            return to_record(row)
        except DataCorrupted as error:
            if row["name"] not in self._told:
                self._told.add(row["name"])
                _logger.warning("left out a job that cannot be read", job=row["name"], error=str(error))
            return None
