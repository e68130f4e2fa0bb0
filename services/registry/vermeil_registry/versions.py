"""Rows of artifacts and versions, as both a finished job and a hand-made request add them."""

from datetime import datetime
from typing import Any

from sqlalchemy import Insert, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from vermeil_artifacts import ArtifactRef
from vermeil_jobs.job import NewDatasetVersion, NewModelVersion
from vermeil_jobs.names import DEFAULT_OWNER, version_name

from vermeil_registry.tables import ArtifactRow, Base, EntryRow, VersionRow


def add_artifact(session: Session, ref: ArtifactRef, job: str, now: datetime) -> None:
    """Register an artifact unless it is registered already: its digest says what it is."""
    _insert_missing(
        session,
        ArtifactRow,
        digest=ref.digest,
        kind=ref.kind,
        num_bytes=ref.num_bytes,
        job=job,
        create_time=now,
    )


def add_version(
    session: Session,
    version: NewDatasetVersion | NewModelVersion,
    job: str,
    now: datetime,
    *,
    request_id: str | None = None,
    fingerprint: str | None = None,
) -> str:
    """Register a version under the next number; the entry's row serializes the counting."""
    add_artifact(session, version.artifact, job, now)
    _insert_missing(
        session,
        EntryRow,
        collection=version.line.partition("/")[0],
        name=version.line,
        owner=DEFAULT_OWNER,
        description="",
        last_version=0,
        create_time=now,
    )
    number = session.scalars(
        update(EntryRow)
        .where(EntryRow.name == version.line)
        .values(last_version=EntryRow.last_version + 1)
        .returning(EntryRow.last_version)
        .execution_options(synchronize_session=False)
    ).one()
    session.add(
        VersionRow(
            entry=version.line,
            version=number,
            digest=version.artifact.digest,
            details=dict(version.details),
            job=job,
            create_time=now,
            owner=DEFAULT_OWNER,
            request_id=request_id,
            fingerprint=fingerprint,
        )
    )
    session.flush()
    return version_name(version.line, number)


def _insert_missing(session: Session, table: type[Base], **values: Any) -> None:
    insert: Any = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    statement: Insert = insert(table).values(**values).on_conflict_do_nothing()
    session.execute(statement)
