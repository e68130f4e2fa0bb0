"""Rows of artifacts and versions, as both a finished job and a hand-made request add them."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, bindparam, insert, update
from sqlalchemy.dialects import postgresql, sqlite
from vermeil_artifacts import ArtifactRef
from vermeil_jobs.job import NewDatasetVersion, NewModelVersion
from vermeil_jobs.names import DEFAULT_OWNER, version_name

from vermeil_registry.tables import ARTIFACTS, ENTRIES, VERSIONS

_COUNT_UP = (
    update(ENTRIES)
    .where(ENTRIES.c.name == bindparam("line"))
    .values(last_version=ENTRIES.c.last_version + 1)
    .returning(ENTRIES.c.last_version)
)


def add_artifact(connection: Connection, ref: ArtifactRef, job: str, now: datetime) -> None:
    """Register an artifact unless it is registered already: its digest says what it is."""
    _insert_missing(
        connection,
        ARTIFACTS,
        {
            "digest": ref.digest,
            "kind": ref.kind,
            "num_bytes": ref.num_bytes,
            "job": job,
            "create_time": now,
        },
    )


def add_version(
    connection: Connection,
    version: NewDatasetVersion | NewModelVersion,
    job: str,
    now: datetime,
    *,
    request_id: str | None = None,
    fingerprint: str | None = None,
) -> str:
    """Register a version under the next number; the entry's row serializes the counting."""
    add_artifact(connection, version.artifact, job, now)
    _insert_missing(
        connection,
        ENTRIES,
        {
            "collection": version.line.partition("/")[0],
            "name": version.line,
            "owner": DEFAULT_OWNER,
            "description": "",
            "last_version": 0,
            "create_time": now,
        },
    )
    number: int = connection.execute(_COUNT_UP, {"line": version.line}).scalar_one()
    connection.execute(
        insert(VERSIONS),
        {
            "entry": version.line,
            "version": number,
            "digest": version.artifact.digest,
            "details": version.details,
            "job": job,
            "create_time": now,
            "owner": DEFAULT_OWNER,
            "request_id": request_id,
            "fingerprint": fingerprint,
        },
    )
    return version_name(version.line, number)


def _insert_missing(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    insert_or_not: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(insert_or_not(table).on_conflict_do_nothing(), values)
