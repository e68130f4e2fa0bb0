"""Catalogue: the names of artifacts, datasets and models.

Datasets and models are the same thing here, an entry with a line of versions; what a version says
beyond its files is `details`, which the API turns into the fields of its message.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from sqlalchemy import Select, select
from sqlalchemy.orm import Session
from vermeil_artifacts import ArtifactRef
from vermeil_errors import AlreadyExists, InvalidInput, NotFound
from vermeil_jobs.job import JsonObject, NewDatasetVersion, NewModelVersion, utc_now
from vermeil_jobs.names import (
    DEFAULT_OWNER,
    check_line,
    check_request_id,
    job_id,
    split_version,
    version_name,
)
from vermeil_jobs.pages import check_page_size, make_token, read_number, read_text

from vermeil_registry.database import Database
from vermeil_registry.tables import ArtifactRow, EntryRow, JobRow, VersionRow
from vermeil_registry.versions import add_artifact, add_version

Collection: TypeAlias = Literal["datasets", "models"]


@dataclass(frozen=True)
class Registered:
    """An artifact's row."""

    ref: ArtifactRef
    job: str
    create_time: datetime


@dataclass(frozen=True)
class Entry:
    """A dataset or a model."""

    name: str
    description: str
    owner: str
    latest_version: str
    create_time: datetime


@dataclass(frozen=True)
class Version:
    """One version of a dataset or a model."""

    name: str
    artifact: ArtifactRef
    details: JsonObject
    job: str
    create_time: datetime


class Catalogue:
    """Registers and finds."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def register_artifact(self, ref: ArtifactRef, job: str) -> Registered:
        """Record files that are in the store; twice is once."""

        def work(session: Session) -> Registered:
            _check_job(session, job)
            add_artifact(session, ref, job, self._clock())
            known = _artifact(session, ref.digest)
            if known.ref != ref:
                raise AlreadyExists(
                    f"{ref.digest} is registered as {known.ref.kind} of {known.ref.num_bytes} bytes",
                    field="artifact.ref",
                    fix="send the reference that the store gave when the files were published",
                )
            return known

        return self._database.write(work)

    def get_artifact(self, name: str) -> Registered:
        """One artifact's row."""
        digest = name.removeprefix("artifacts/")
        if digest == name:
            raise InvalidInput.for_field(
                "name", name, "is not the name of an artifact", 'write "artifacts/" and its digest'
            )
        return self._database.read(lambda session: _artifact(session, digest))

    def list_artifacts(self, page_size: int, page_token: str, kind: str) -> tuple[list[Registered], str]:
        """A page of artifacts, newest first."""
        scope, limit = f"artifacts {kind}", check_page_size(page_size)
        before = read_number(page_token, scope)
        query = select(ArtifactRow).order_by(ArtifactRow.number.desc()).limit(limit + 1)
        if before is not None:
            query = query.where(ArtifactRow.number < before)
        if kind:
            query = query.where(ArtifactRow.kind == kind)
        rows = self._database.read(lambda session: list(session.scalars(query)))
        token = make_token(scope, rows[limit - 1].number) if len(rows) > limit else ""
        return [_registered(row) for row in rows[:limit]], token

    def create_version(
        self, new: NewDatasetVersion | NewModelVersion, *, request_id: str, job: str
    ) -> Version:
        """Add a version, and its entry if the name is new; the same request gives the same version."""
        check_request_id(request_id)
        content = json.dumps([new.line, asdict(new.artifact), new.details, job], sort_keys=True)
        fingerprint = hashlib.sha256(content.encode()).hexdigest()

        def work(session: Session) -> Version:
            known = _by_request(session, request_id)
            if known is not None:
                if known.fingerprint != fingerprint:
                    raise AlreadyExists(
                        f"request {request_id} has already made {version_name(known.entry, known.version)}, "
                        "from other content",
                        field="request_id",
                        fix="choose a new request_id for a new version",
                    )
                return _version(session, known.entry, known.version)
            _check_job(session, job)
            name = add_version(
                session, new, job, self._clock(), request_id=request_id, fingerprint=fingerprint
            )
            return _version(session, new.line, int(name.rpartition("/")[2]))

        return self._database.write(work)

    def get_entry(self, collection: Collection, name: str) -> Entry:
        """One dataset or model."""
        check_line(collection, name, "name")
        return self._database.read(lambda session: _to_entry(_entry(session, name)))

    def list_entries(
        self, collection: Collection, page_size: int, page_token: str
    ) -> tuple[list[Entry], str]:
        """A page of datasets or models, by name."""
        limit, after = check_page_size(page_size), read_text(page_token, collection)
        query = select(EntryRow).where(EntryRow.collection == collection).order_by(EntryRow.name)
        if after is not None:
            query = query.where(EntryRow.name > after)
        rows = self._database.read(lambda session: list(session.scalars(query.limit(limit + 1))))
        token = make_token(collection, rows[limit - 1].name) if len(rows) > limit else ""
        return [_to_entry(row) for row in rows[:limit]], token

    def describe_entry(self, collection: Collection, name: str, description: str) -> Entry:
        """Change the description of a dataset or model."""
        check_line(collection, name, "name")

        def work(session: Session) -> Entry:
            row = _entry(session, name)
            row.description = description
            session.flush()
            return _to_entry(row)

        return self._database.write(work)

    def get_version(self, collection: Collection, name: str) -> Version:
        """One version; the name of an entry means its newest."""
        line, number = split_version(collection, name, "name")
        return self._database.read(lambda session: _version(session, line, number))

    def list_versions(
        self, collection: Collection, line: str, page_size: int, page_token: str
    ) -> tuple[list[Version], str]:
        """A page of the versions of an entry, newest first."""
        check_line(collection, line, collection[:-1])
        scope, limit = f"{line} versions", check_page_size(page_size)
        before = read_number(page_token, scope)
        query = _versions().where(VersionRow.entry == line).order_by(VersionRow.version.desc())
        if before is not None:
            query = query.where(VersionRow.version < before)

        def work(session: Session) -> list[Version]:
            _entry(session, line)
            return [_to_version(*row) for row in session.execute(query.limit(limit + 1)).tuples()]

        versions = self._database.read(work)
        more = len(versions) > limit
        token = make_token(scope, int(versions[limit - 1].name.rpartition("/")[2])) if more else ""
        return versions[:limit], token


def _check_job(session: Session, job: str) -> None:
    if job:
        job_id(job, "job")
        if session.scalar(select(JobRow.number).where(JobRow.name == job)) is None:
            raise NotFound(
                f"{job} does not exist", field="job", fix="leave it empty for what is made by hand"
            )


def _artifact(session: Session, digest: str) -> Registered:
    row = session.scalar(select(ArtifactRow).where(ArtifactRow.digest == digest))
    if row is None:
        raise NotFound(f"artifacts/{digest} is not registered", fix="list the artifacts to see their names")
    return _registered(row)


def _entry(session: Session, name: str) -> EntryRow:
    row = session.scalar(select(EntryRow).where(EntryRow.name == name))
    if row is None:
        collection = name.partition("/")[0]
        raise NotFound(f"{name} does not exist", fix=f"list the {collection} to see their names")
    return row


def _version(session: Session, line: str, number: int | None) -> Version:
    wanted = _entry(session, line).last_version if number is None else number
    query = _versions().where(VersionRow.entry == line, VersionRow.version == wanted)
    row = session.execute(query).tuples().first()
    if row is None:
        raise NotFound(
            f"{version_name(line, wanted)} does not exist",
            fix=f"the newest version of {line} is {_entry(session, line).last_version}",
        )
    return _to_version(*row)


def _versions() -> "Select[VersionRow, ArtifactRow]":
    return select(VersionRow, ArtifactRow).join(ArtifactRow, ArtifactRow.digest == VersionRow.digest)


def _by_request(session: Session, request_id: str) -> VersionRow | None:
    query = select(VersionRow).where(VersionRow.owner == DEFAULT_OWNER, VersionRow.request_id == request_id)
    return session.scalar(query)


def _registered(row: ArtifactRow) -> Registered:
    return Registered(ArtifactRef(row.digest, row.kind, row.num_bytes), row.job, row.create_time)


def _to_entry(row: EntryRow) -> Entry:
    latest = version_name(row.name, row.last_version)
    return Entry(row.name, row.description, row.owner, latest, row.create_time)


def _to_version(row: VersionRow, artifact: ArtifactRow) -> Version:
    return Version(
        name=version_name(row.entry, row.version),
        artifact=ArtifactRef(artifact.digest, artifact.kind, artifact.num_bytes),
        details=row.details,
        job=row.job,
        create_time=row.create_time,
    )
