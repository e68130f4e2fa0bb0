"""Catalogue: the names of artifacts, datasets and models.

Datasets and models are the same thing here, an entry with a line of versions; what a version says
beyond its files is `details`, which the API turns into the fields of its message.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, Row, Select, select, update
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
from vermeil_registry.tables import ARTIFACTS, ENTRIES, JOBS, VERSIONS
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

        def work(connection: Connection) -> Registered:
            _check_job(connection, job)
            add_artifact(connection, ref, job, self._clock())
            known = _artifact(connection, ref.digest)
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
        return self._database.read(lambda connection: _artifact(connection, digest))

    def list_artifacts(self, page_size: int, page_token: str, kind: str) -> tuple[list[Registered], str]:
        """A page of artifacts, newest first."""
        scope, limit = f"artifacts {kind}", check_page_size(page_size)
        before = read_number(page_token, scope)
        query = select(ARTIFACTS).order_by(ARTIFACTS.c.number.desc()).limit(limit + 1)
        if before is not None:
            query = query.where(ARTIFACTS.c.number < before)
        if kind:
            query = query.where(ARTIFACTS.c.kind == kind)
        rows = self._database.read(lambda connection: list(connection.execute(query)))
        token = make_token(scope, rows[limit - 1].number) if len(rows) > limit else ""
        return [_registered(row) for row in rows[:limit]], token

    def create_version(
        self, new: NewDatasetVersion | NewModelVersion, *, request_id: str, job: str
    ) -> Version:
        """Add a version, and its entry if the name is new; the same request gives the same version."""
        check_request_id(request_id)
        content = json.dumps([new.line, asdict(new.artifact), new.details, job], sort_keys=True)
        fingerprint = hashlib.sha256(content.encode()).hexdigest()

        def work(connection: Connection) -> Version:
            known = _by_request(connection, request_id)
            if known is not None:
                if known.fingerprint != fingerprint:
                    raise AlreadyExists(
                        f"request {request_id} has already made {version_name(known.entry, known.version)}, "
                        "from other content",
                        field="request_id",
                        fix="choose a new request_id for a new version",
                    )
                return _version(connection, known.entry, known.version)
            _check_job(connection, job)
            name = add_version(
                connection, new, job, self._clock(), request_id=request_id, fingerprint=fingerprint
            )
            return _version(connection, new.line, int(name.rpartition("/")[2]))

        return self._database.write(work)

    def get_entry(self, collection: Collection, name: str) -> Entry:
        """One dataset or model."""
        check_line(collection, name, "name")
        return self._database.read(lambda connection: _to_entry(_entry(connection, name)))

    def list_entries(
        self, collection: Collection, page_size: int, page_token: str
    ) -> tuple[list[Entry], str]:
        """A page of datasets or models, by name."""
        limit, after = check_page_size(page_size), read_text(page_token, collection)
        query = select(ENTRIES).where(ENTRIES.c.collection == collection).order_by(ENTRIES.c.name)
        if after is not None:
            query = query.where(ENTRIES.c.name > after)
        rows = self._database.read(lambda connection: list(connection.execute(query.limit(limit + 1))))
        token = make_token(collection, rows[limit - 1].name) if len(rows) > limit else ""
        return [_to_entry(row) for row in rows[:limit]], token

    def describe_entry(self, collection: Collection, name: str, description: str) -> Entry:
        """Change the description of a dataset or model."""
        check_line(collection, name, "name")

        def work(connection: Connection) -> Entry:
            _entry(connection, name)
            change = update(ENTRIES).where(ENTRIES.c.name == name).values(description=description)
            connection.execute(change)
            return _to_entry(_entry(connection, name))

        return self._database.write(work)

    def get_version(self, collection: Collection, name: str) -> Version:
        """One version; the name of an entry means its newest."""
        line, number = split_version(collection, name, "name")
        return self._database.read(lambda connection: _version(connection, line, number))

    def list_versions(
        self, collection: Collection, line: str, page_size: int, page_token: str
    ) -> tuple[list[Version], str]:
        """A page of the versions of an entry, newest first."""
        check_line(collection, line, collection[:-1])
        scope, limit = f"{line} versions", check_page_size(page_size)
        before = read_number(page_token, scope)
        query = _versions().where(VERSIONS.c.entry == line).order_by(VERSIONS.c.version.desc())
        if before is not None:
            query = query.where(VERSIONS.c.version < before)

        def work(connection: Connection) -> list[Version]:
            _entry(connection, line)
            return [_to_version(row) for row in connection.execute(query.limit(limit + 1))]

        versions = self._database.read(work)
        more = len(versions) > limit
        token = make_token(scope, int(versions[limit - 1].name.rpartition("/")[2])) if more else ""
        return versions[:limit], token


def _check_job(connection: Connection, job: str) -> None:
    if job:
        job_id(job, "job")
        if connection.scalar(select(JOBS.c.number).where(JOBS.c.name == job)) is None:
            raise NotFound(
                f"{job} does not exist", field="job", fix="leave it empty for what is made by hand"
            )


def _artifact(connection: Connection, digest: str) -> Registered:
    row = connection.execute(select(ARTIFACTS).where(ARTIFACTS.c.digest == digest)).first()
    if row is None:
        raise NotFound(f"artifacts/{digest} is not registered", fix="list the artifacts to see their names")
    return _registered(row)


def _entry(connection: Connection, name: str) -> Row[*tuple[Any, ...]]:
    row = connection.execute(select(ENTRIES).where(ENTRIES.c.name == name)).first()
    if row is None:
        collection = name.partition("/")[0]
        raise NotFound(f"{name} does not exist", fix=f"list the {collection} to see their names")
    return row


def _version(connection: Connection, line: str, number: int | None) -> Version:
    wanted = _entry(connection, line).last_version if number is None else number
    query = _versions().where(VERSIONS.c.entry == line, VERSIONS.c.version == wanted)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(
            f"{version_name(line, wanted)} does not exist",
            fix=f"the newest version of {line} is {_entry(connection, line).last_version}",
        )
    return _to_version(row)


def _versions() -> Select[*tuple[Any, ...]]:
    columns = (*VERSIONS.c, ARTIFACTS.c.kind, ARTIFACTS.c.num_bytes)
    return select(*columns).join(ARTIFACTS, ARTIFACTS.c.digest == VERSIONS.c.digest)


def _by_request(connection: Connection, request_id: str) -> Row[*tuple[Any, ...]] | None:
    query = select(VERSIONS).where(VERSIONS.c.owner == DEFAULT_OWNER, VERSIONS.c.request_id == request_id)
    return connection.execute(query).first()


def _registered(row: Row[*tuple[Any, ...]]) -> Registered:
    return Registered(ArtifactRef(row.digest, row.kind, row.num_bytes), row.job, row.create_time)


def _to_entry(row: Row[*tuple[Any, ...]]) -> Entry:
    latest = version_name(row.name, row.last_version)
    return Entry(row.name, row.description, row.owner, latest, row.create_time)


def _to_version(row: Row[*tuple[Any, ...]]) -> Version:
    return Version(
        name=version_name(row.entry, row.version),
        artifact=ArtifactRef(row.digest, row.kind, row.num_bytes),
        details=row.details,
        job=row.job,
        create_time=row.create_time,
    )
