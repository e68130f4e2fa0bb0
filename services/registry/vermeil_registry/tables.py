"""The tables. Times are microseconds since 1970 in UTC; JSON is text, so that NaN may stand in it.

Plain tables, no ORM: a row is read into a frozen value and written back by compare-and-set on its
`revision`, and a request costs a third of what the ORM takes for it.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

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


metadata = MetaData()


def _column(name: str, kind: type[TypeEngine[Any]]) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _texts(*names: str) -> list[Column[Any]]:
    return [_column(name, Text) for name in names]


JOBS = Table(
    "jobs",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    *_texts("owner", "request_id", "kind", "queue", "spec_type"),
    _column("spec_value", LargeBinary),
    _column("after", Json),
    _column("inputs", Json),
    _column("traceparent", Text),
    _column("create_time", Time),
    # how it stands
    _column("state", Text),
    _column("max_attempts", Integer),
    _column("attempt", Integer),
    _column("cancel_requested", Boolean),
    _column("num_waiting", Integer),
    Column("ready_time", Time),
    _column("fence", BigInteger),
    _column("worker", Text),
    Column("lease_end", Time),
    _column("ending", Text),
    Column("error", Json),
    Column("start_time", Time),
    Column("end_time", Time),
    # what it reports and makes
    _column("progress", Json),
    _column("outputs", Json),
    _column("result", Json),
    # when the sweeper looks at it
    Column("ring_time", Time),
    _column("num_rings", Integer),
    _column("revision", Integer),
    UniqueConstraint("owner", "request_id", name="one_job_per_request"),
    Index("jobs_by_ring_time", "ring_time"),
    Index("jobs_by_state", "state", "number"),
    Index("jobs_by_kind", "kind", "number"),
)
"""A job: as asked for, as it stands, as it ended."""

SUCCESSORS = Table(
    "job_successors",
    metadata,
    Column("predecessor", Text, ForeignKey("jobs.name"), primary_key=True),
    Column("successor", Text, ForeignKey("jobs.name"), primary_key=True),
)
"""One job waits for another."""

LINES = Table(
    "job_lines",
    metadata,
    Column("job", Text, ForeignKey("jobs.name"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _column("time", Time),
    *_texts("level", "text"),
)
"""The log of a job."""

ARTIFACTS = Table(
    "artifacts",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),
    _column("kind", Text),
    _column("num_bytes", BigInteger),
    _column("job", Text),
    _column("create_time", Time),
)
"""Files in the store."""

ENTRIES = Table(
    "entries",
    metadata,
    Column("number", _Number, primary_key=True),
    _column("collection", Text),
    Column("name", Text, nullable=False, unique=True),
    *_texts("owner", "description"),
    _column("last_version", Integer),
    _column("create_time", Time),
    Index("entries_by_name", "collection", "name"),
)
"""A dataset or a model: a name with a line of versions."""

VERSIONS = Table(
    "versions",
    metadata,
    Column("entry", Text, ForeignKey("entries.name"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, ForeignKey("artifacts.digest"), nullable=False),
    _column("details", Json),
    _column("job", Text),
    _column("create_time", Time),
    _column("owner", Text),
    Column("request_id", Text),
    Column("fingerprint", Text),
    UniqueConstraint("owner", "request_id", name="one_version_per_request"),
    Index("versions_by_digest", "digest"),
)
"""One version of a dataset or a model."""

API_KEYS = Table(
    "api_keys",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _column("secret_digest", LargeBinary),
    *_texts("display_name", "owner"),
    _column("scopes", Json),
    _column("limits", Json),
    _column("create_time", Time),
    Column("expire_time", Time),
    Column("revoke_time", Time),
    Column("last_used_time", Time),
    Column("request_id", Text, nullable=False, unique=True),
)
"""A key of the gateway; of its secret only the hash."""

API_KEY_USAGE = Table(
    "api_key_usage",
    metadata,
    Column("key", Text, ForeignKey("api_keys.name"), primary_key=True),
    Column("day", Text, primary_key=True),
    _column("requests", BigInteger),
    _column("tokens", BigInteger),
)
"""What a key did on a day of UTC."""

API_KEY_REPORTERS = Table(
    "api_key_reporters",
    metadata,
    Column("reporter", Text, primary_key=True),
    _column("sequence", BigInteger),
    _column("time", Time),
)
"""The last report of each gateway, so that none is counted twice."""

AUDIT_EVENTS = Table(
    "audit_events",
    metadata,
    Column("number", _Number, primary_key=True),
    _column("time", Time),
    *_texts("caller", "action", "resource"),
    _column("status", Integer),
    _column("trace_request_id", Text),
    Column("request_id", Text, nullable=False, unique=True),
    Index("audit_events_by_caller", "caller", "number"),
    Index("audit_events_by_resource", "resource", "number"),
)
"""Who changed what; rows are added and never changed."""
