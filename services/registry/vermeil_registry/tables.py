"""The tables. Times are microseconds since 1970 in UTC; JSON is text, so that NaN may stand in it.

`revision` makes every change of a row a compare-and-set: who read an older one has to read again.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Dialect, ForeignKey, Index, Integer, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_Number = BigInteger().with_variant(Integer, "sqlite")


class Time(TypeDecorator[datetime]):
    """A moment."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else _EPOCH + value * _MICROSECOND


class Json(TypeDecorator[Any]):
    """A JSON value."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else json.loads(value)


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {str: Text, bytes: LargeBinary, datetime: Time}  # noqa: RUF012


class JobRow(Base):
    """A job: as asked for, as it stands, as it ended."""

    __tablename__ = "jobs"

    number: Mapped[int] = mapped_column(_Number, primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    owner: Mapped[str]
    request_id: Mapped[str]
    kind: Mapped[str]
    queue: Mapped[str]
    spec_type: Mapped[str]
    spec_value: Mapped[bytes]
    after: Mapped[list[str]] = mapped_column(Json)
    inputs: Mapped[dict[str, Any]] = mapped_column(Json)
    traceparent: Mapped[str]
    create_time: Mapped[datetime]

    state: Mapped[str]
    max_attempts: Mapped[int]
    attempt: Mapped[int]
    cancel_requested: Mapped[bool]
    num_waiting: Mapped[int]
    ready_time: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(BigInteger)
    worker: Mapped[str]
    lease_end: Mapped[datetime | None]
    ending: Mapped[str]
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    start_time: Mapped[datetime | None]
    end_time: Mapped[datetime | None]

    progress: Mapped[dict[str, Any]] = mapped_column(Json)
    outputs: Mapped[dict[str, Any]] = mapped_column(Json)
    result: Mapped[dict[str, Any]] = mapped_column(Json)
    ring_time: Mapped[datetime | None]
    num_rings: Mapped[int]
    revision: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012
    __table_args__ = (
        UniqueConstraint("owner", "request_id", name="one_job_per_request"),
        Index("jobs_by_ring_time", "ring_time"),
        Index("jobs_by_state", "state", "number"),
        Index("jobs_by_kind", "kind", "number"),
    )


class SuccessorRow(Base):
    """One job waits for another."""

    __tablename__ = "job_successors"

    predecessor: Mapped[str] = mapped_column(ForeignKey("jobs.name"), primary_key=True)
    successor: Mapped[str] = mapped_column(ForeignKey("jobs.name"), primary_key=True)


class LineRow(Base):
    """A line of a job's log."""

    __tablename__ = "job_lines"

    job: Mapped[str] = mapped_column(ForeignKey("jobs.name"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    time: Mapped[datetime]
    level: Mapped[str]
    text: Mapped[str]


class ArtifactRow(Base):
    """Files in the store."""

    __tablename__ = "artifacts"

    number: Mapped[int] = mapped_column(_Number, primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    job: Mapped[str]
    create_time: Mapped[datetime]


class EntryRow(Base):
    """A dataset or a model: a name with a line of versions."""

    __tablename__ = "entries"

    number: Mapped[int] = mapped_column(_Number, primary_key=True)
    collection: Mapped[str]
    name: Mapped[str] = mapped_column(unique=True)
    owner: Mapped[str]
    description: Mapped[str]
    last_version: Mapped[int]
    create_time: Mapped[datetime]

    __table_args__ = (Index("entries_by_name", "collection", "name"),)


class VersionRow(Base):
    """One version of a dataset or a model."""

    __tablename__ = "versions"

    entry: Mapped[str] = mapped_column(ForeignKey("entries.name"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    digest: Mapped[str] = mapped_column(ForeignKey("artifacts.digest"))
    details: Mapped[dict[str, Any]] = mapped_column(Json)
    job: Mapped[str]
    create_time: Mapped[datetime]
    owner: Mapped[str]
    request_id: Mapped[str | None]
    fingerprint: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("owner", "request_id", name="one_version_per_request"),
        Index("versions_by_digest", "digest"),
    )
