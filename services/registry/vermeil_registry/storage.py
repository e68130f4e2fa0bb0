"""SqlStorage: the ledger's storage over the database."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session
from vermeil_artifacts import ArtifactRef
from vermeil_jobs.job import JobState, LogLine, NewDatasetVersion, NewModelVersion
from vermeil_jobs.storage import Record, Transaction, unseen

from vermeil_registry.database import Database
from vermeil_registry.rows import fill, new_row, to_record
from vermeil_registry.tables import JobRow, LineRow, SuccessorRow
from vermeil_registry.versions import add_artifact, add_version

T = TypeVar("T")


class SqlStorage:
    """Runs the ledger's transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` so that it happens whole, as if alone, or not at all."""
        return self._database.write(lambda session: work(SqlTransaction(session)))

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work`, which only reads, on one state of the rows."""
        return self._database.read(lambda session: work(SqlTransaction(session)))


class SqlTransaction:
    """One transaction; every change is flushed at once, so that a lost race shows early."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def find(self, name: str, *, hold: bool = False) -> Record | None:
        """A job; with `hold`, its row is locked where the database can."""
        query = select(JobRow).where(JobRow.name == name)
        if hold:
            query = query.with_for_update().execution_options(populate_existing=True)
        row = self._session.scalar(query)
        return None if row is None else to_record(row)

    def find_request(self, owner: str, request_id: str) -> Record | None:
        """The job that this request made."""
        query = select(JobRow).where(JobRow.owner == owner, JobRow.request_id == request_id)
        row = self._session.scalar(query)
        return None if row is None else to_record(row)

    def insert(self, record: Record) -> Record:
        """Add a job."""
        row = new_row(record)
        self._session.add(row)
        self._session.flush()
        self._session.add_all(
            SuccessorRow(predecessor=name, successor=record.name) for name in record.new.after
        )
        self._session.flush()
        return to_record(row)

    def save(self, record: Record) -> None:
        """Change a job, if nobody else has since it was read."""
        row = self._session.get_one(JobRow, record.number)
        fill(row, record)
        self._session.flush()

    def successors(self, name: str) -> list[str]:
        """Names of the jobs that wait for this one."""
        query = select(SuccessorRow.successor).where(SuccessorRow.predecessor == name)
        return sorted(self._session.scalars(query))

    def due(self, now: datetime, limit: int) -> list[str]:
        """Names of jobs whose ring_time has come, longest due first."""
        query = select(JobRow.name).where(JobRow.ring_time <= now).order_by(JobRow.ring_time).limit(limit)
        return list(self._session.scalars(query))

    def page(self, *, before: int | None, limit: int, state: JobState | None, kind: str) -> list[Record]:
        """Jobs with a smaller number than `before`, newest first."""
        query = select(JobRow).order_by(JobRow.number.desc()).limit(limit)
        if before is not None:
            query = query.where(JobRow.number < before)
        if state is not None:
            query = query.where(JobRow.state == state.value)
        if kind:
            query = query.where(JobRow.kind == kind)
        return [to_record(row) for row in self._session.scalars(query)]

    def add_lines(self, name: str, lines: Iterable[LogLine], keep: int) -> None:
        """Append lines, leaving out those already there."""
        lines = list(lines)
        earliest = min(line.time for line in lines)
        query = select(LineRow).where(LineRow.job == name, LineRow.time >= earliest)
        known = [LogLine(row.time, row.level, row.text) for row in self._session.scalars(query)]
        last = self._session.scalar(select(func.max(LineRow.number)).where(LineRow.job == name)) or 0
        rows = [
            LineRow(job=name, number=number, time=line.time, level=line.level, text=line.text)
            for number, line in enumerate(unseen(lines, known), last + 1)
        ]
        self._session.add_all(rows)
        self._session.flush()
        end = last + len(rows) - keep
        if end > 0:
            self._session.execute(delete(LineRow).where(LineRow.job == name, LineRow.number <= end))

    def lines(self, name: str, *, after: int, limit: int) -> list[tuple[int, LogLine]]:
        """Lines with a greater number than `after`, oldest first."""
        query = select(LineRow).where(LineRow.job == name, LineRow.number > after)
        rows = self._session.scalars(query.order_by(LineRow.number).limit(limit))
        return [(row.number, LogLine(row.time, row.level, row.text)) for row in rows]

    def add_artifact(self, ref: ArtifactRef, job: str, now: datetime) -> None:
        """Register an artifact unless it is registered already."""
        add_artifact(self._session, ref, job, now)

    def add_version(self, version: NewDatasetVersion | NewModelVersion, job: str, now: datetime) -> str:
        """Register a version under the next number of its line."""
        return add_version(self._session, version, job, now)
