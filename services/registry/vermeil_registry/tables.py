"""The tables. Times are microseconds since 1970 in UTC; JSON is text, so that NaN may stand in it.

Plain tables, no ORM: a row is read into a frozen value and written back by compare-and-set on its
`revision`, and a request costs a third of what the ORM takes for it.
"""

import json
import re
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
from vermeil_errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_Number = BigInteger().with_variant(Integer, "sqlite")


class Time(TypeDecorator[datetime]):
    """A moment."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else _EPOCH + value * _MICROSECOND


class Words(TypeDecorator[str]):
    """A text that every database takes: Postgres has no NUL, and no half of a surrogate pair is UTF-8.

    The one place where both are refused, in what is written and in what is asked for; JSON escapes them.
    """

    impl = Text
    cache_ok = True

    def __init__(self, field: str) -> None:
        super().__init__()
        self.field = field
        """What callers know the column by."""

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        if value is not None and (found := _UNSTORABLE.search(value)):
            what = "a NUL character" if found[0] == "\0" else "half a surrogate pair"
            raise InvalidInput.for_field(self.field, value, f"has {what} at {found.start()}", "leave it out")
        return value


class Json(TypeDecorator[Any]):
    """A JSON value."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else json.loads(value)


metadata = MetaData()


def _column(name: str, kind: type[TypeEngine[Any]] | TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _texts(*names: str) -> list[Column[Any]]:
    return [_column(name, Words(name)) for name in names]


JOBS = Table(
    "jobs",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("name", Words("name"), nullable=False, unique=True),
    *_texts("owner", "request_id", "kind", "queue"),
    _column("spec_type", Words("spec.type_url")),
    _column("spec_value", LargeBinary),
    _column("after", Json),
    _column("inputs", Json),
    _column("traceparent", Words("traceparent")),
    _column("create_time", Time),
    # how it stands
    _column("state", Words("state")),
    _column("max_attempts", Integer),
    _column("attempt", Integer),
    _column("cancel_requested", Boolean),
    _column("num_waiting", Integer),
    Column("ready_time", Time),
    _column("fence", BigInteger),
    _column("worker", Words("worker")),
    Column("lease_end", Time),
    _column("ending", Words("ending")),
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
    # its place among those that wait
    Column("priority", Words("priority"), nullable=False, server_default="NORMAL"),
    Column("turn", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("owner", "request_id", name="one_job_per_request"),
    Index("jobs_by_ring_time", "ring_time"),
    Index("jobs_by_state", "state", "number"),
    Index("jobs_by_kind", "kind", "number"),
    Index("jobs_by_kind_and_state", "kind", "state", "number"),
    Index("jobs_by_turn", "queue", "state", "turn", "number"),
    Index("jobs_by_owner", "owner", "state", "queue", "priority", "turn"),
)
"""A job: as asked for, as it stands, as it ended."""

QUOTAS = Table(
    "quotas",
    metadata,
    Column("owner", Words("owner"), primary_key=True),
    Column("max_running", Integer),
    Column("max_waiting", Integer),
)
"""An owner's own limits; without numbers it has none, and the row is held while its jobs are counted."""

SUCCESSORS = Table(
    "job_successors",
    metadata,
    Column("predecessor", Words("predecessor"), ForeignKey("jobs.name"), primary_key=True),
    Column("successor", Words("successor"), ForeignKey("jobs.name"), primary_key=True),
)
"""One job waits for another."""

LINES = Table(
    "job_lines",
    metadata,
    Column("job", Words("job"), ForeignKey("jobs.name"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _column("time", Time),
    *_texts("level", "text"),
)
"""The log of a job."""

ARTIFACTS = Table(
    "artifacts",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("digest", Words("digest"), nullable=False, unique=True),
    _column("kind", Words("kind")),
    _column("num_bytes", BigInteger),
    _column("job", Words("job")),
    _column("create_time", Time),
    Index("artifacts_by_kind", "kind", "number"),
)
"""Files in the store."""

ENTRIES = Table(
    "entries",
    metadata,
    Column("number", _Number, primary_key=True),
    _column("collection", Words("collection")),
    Column("name", Words("name"), nullable=False, unique=True),
    *_texts("owner", "description"),
    _column("last_version", Integer),
    _column("create_time", Time),
    Index("entries_by_name", "collection", "name"),
)
"""A dataset or a model: a name with a line of versions."""

VERSIONS = Table(
    "versions",
    metadata,
    Column("entry", Words("entry"), ForeignKey("entries.name"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", Words("digest"), ForeignKey("artifacts.digest"), nullable=False),
    _column("details", Json),
    _column("job", Words("job")),
    _column("create_time", Time),
    _column("owner", Words("owner")),
    Column("request_id", Words("request_id")),
    Column("fingerprint", Words("fingerprint")),
    UniqueConstraint("owner", "request_id", name="one_version_per_request"),
    Index("versions_by_digest", "digest"),
)
"""One version of a dataset or a model."""

API_KEYS = Table(
    "api_keys",
    metadata,
    Column("number", _Number, primary_key=True),
    Column("name", Words("name"), nullable=False, unique=True),
    _column("secret_digest", LargeBinary),
    *_texts("display_name", "owner"),
    _column("scopes", Json),
    _column("limits", Json),
    _column("create_time", Time),
    Column("expire_time", Time),
    Column("revoke_time", Time),
    Column("last_used_time", Time),
    Column("request_id", Words("request_id"), nullable=False, unique=True),
)
"""A key of the gateway; of its secret only the hash."""

API_KEY_USAGE = Table(
    "api_key_usage",
    metadata,
    Column("key", Words("key"), ForeignKey("api_keys.name"), primary_key=True),
    Column("day", Words("day"), primary_key=True),
    _column("requests", BigInteger),
    _column("tokens", BigInteger),
)
"""What a key did on a day of UTC."""

API_KEY_REPORTERS = Table(
    "api_key_reporters",
    metadata,
    Column("reporter", Words("reporter"), primary_key=True),
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
    _column("trace_request_id", Words("trace_request_id")),
    Column("request_id", Words("request_id"), nullable=False, unique=True),
    Index("audit_events_by_caller", "caller", "number"),
    Index("audit_events_by_resource", "resource", "number"),
)
"""Who changed what; rows are added and never changed."""
