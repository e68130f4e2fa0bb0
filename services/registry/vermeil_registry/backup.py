"""Backup and restore of a whole house: the rows, and the artifacts they name.

A backup is a folder. Rows are read as they are at one moment, then the artifacts they name are
copied; an artifact is published before a row names it, so this is consistent while all runs on.
Taken again into the same folder, only new artifacts are copied. Artifacts are an ordinary local
store, so every byte is held to its digest when written and when read.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, select, text
from vermeil_artifacts import ArtifactStore, LocalStore
from vermeil_errors import Conflict, DataCorrupted, InvalidInput, NotFound

from vermeil_registry.database import Database
from vermeil_registry.dump import dump, first_with_rows, load
from vermeil_registry.migrate import migrate, revision
from vermeil_registry.tables import ARTIFACTS, JOBS

_FORMAT = 1
_MANIFEST = "backup.json"
_FRESH = f"{_MANIFEST}.new"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Backup:
    """What a backup holds: the content of its backup.json."""

    format_version: int
    time: str
    """When the rows were read, UTC."""
    revision: str
    """Of the database's form."""
    rows: str
    """sha256 of the file with all rows, which is named by it."""
    num_rows: int
    artifacts: tuple[str, ...]
    """Digests of all that rows name."""
    lost: tuple[str, ...]
    """Of these, the ones that the store did not have, or not whole."""


def back_up(database: Database, store: ArtifactStore, folder: Path, say: Say) -> Backup:
    """Write a backup into `folder`, which is new, empty or holds an older one.

    Raises:
        DataCorrupted: All else is saved, but the store does not have these artifacts any more, or not whole.
    """
    before = _prepare(folder)
    taken, (at, digest, num_rows, named) = datetime.now(UTC), _save_rows(database, folder)
    say(f"{num_rows} rows at revision {at}; {len(named)} artifacts")
    lost = _copy(named, store, LocalStore(folder / "artifacts"), say)
    made = Backup(
        _FORMAT, taken.isoformat(timespec="seconds"), at, digest, num_rows, tuple(named), tuple(lost)
    )
    with (folder / _FRESH).open("w", encoding="utf-8") as file:
        json.dump(asdict(made), file, indent=1)
        _sync(file)
    (folder / _FRESH).replace(folder / _MANIFEST)
    if before and before.rows != digest:
        _rows_file(folder, before.rows).unlink(missing_ok=True)
    if lost:
        raise DataCorrupted(
            f"the backup is written, but the store lost {len(lost)} artifacts: {', '.join(lost[:5])}",
            fix="restore them from an older backup, or publish the same files again",
        )
    return made


def restore(database: Database, store: ArtifactStore, folder: Path, say: Say) -> Backup:
    """Bring what is in `folder` into an empty database and a store; after a failure, run it again.

    Raises:
        Conflict: The database has rows already.
        DataCorrupted: The backup is not what was written.
    """
    made = read(folder)
    if database.read(revision) is not None:
        table = database.read(first_with_rows)
        if table is not None:
            raise Conflict(
                f"the database has rows already, in {table}",
                fix="restore into an empty one: a new VERMEIL_HOME or VERMEIL_DATABASE_URL",
            )
    rows = _rows_file(folder, made.rows)
    with rows.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != made.rows:
            raise DataCorrupted(f"{rows} is not what was written", fix="take another copy of the backup")
    wanted = [digest for digest in made.artifacts if digest not in made.lost]
    lost = _copy(wanted, LocalStore(folder / "artifacts"), store, say)
    if lost:
        raise DataCorrupted(
            f"the backup lost {len(lost)} artifacts: {', '.join(lost[:5])}", fix="take another copy of it"
        )
    migrate(database, to=made.revision)

    def work(connection: Connection) -> None:
        with rows.open("rb") as file:
            load(connection, file)

    database.write(work)
    migrate(database)
    say(f"{made.num_rows} rows of {made.time} and {len(wanted)} artifacts are back")
    return made


def read(folder: Path) -> Backup:
    """What is in a backup, by its own account."""
    try:
        found = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if found["format_version"] != _FORMAT:
            problem = f"is a backup of format {found['format_version']}; this version reads {_FORMAT}"
            raise InvalidInput.for_field("folder", str(folder), problem, "use the version that wrote it")
        return Backup(**{**found, "artifacts": tuple(found["artifacts"]), "lost": tuple(found["lost"])})
    except FileNotFoundError as error:
        raise NotFound(f"{folder} holds no backup: there is no {_MANIFEST}", fix="name its folder") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataCorrupted(f"{folder / _MANIFEST} is not what was written: {error}") from error


def _prepare(folder: Path) -> Backup | None:
    """The backup that is there already, if any."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / _MANIFEST).exists():
        return read(folder)
    # What an interrupted backup leaves may be gone on with.
    strangers = [
        each.name
        for each in folder.iterdir()
        if each.name not in ("artifacts", _FRESH) and each.suffix != ".jsonl"
    ]
    if strangers:
        problem = f"holds something else: {', '.join(sorted(strangers)[:3])}"
        raise InvalidInput.for_field("folder", str(folder), problem, "name a new folder, or that of a backup")
    return None


def _save_rows(database: Database, folder: Path) -> tuple[str, str, int, list[str]]:
    """Revision, sha256 and number of rows, and the digests that they name."""
    fresh = folder / "new.jsonl"

    def work(connection: Connection) -> tuple[str, str, int, list[str]]:
        if not database.is_sqlite:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        at = _revision(connection)
        hashed, num_rows = hashlib.sha256(), 0
        with fresh.open("wb") as file:
            for line in dump(connection):
                file.write(line)
                hashed.update(line)
                num_rows += 1
            _sync(file)
        return at, hashed.hexdigest(), num_rows, named_artifacts(connection)

    saved = database.read(work)
    fresh.replace(_rows_file(folder, saved[1]))
    return saved


def _sync(file: IO[Any]) -> None:
    """Down to the disk: a power cut must not leave a backup that is named and empty."""
    file.flush()
    os.fsync(file.fileno())


def named_artifacts(connection: Connection) -> list[str]:
    """Digests of what is registered, and of what jobs that still run read and have laid down.

    Raises:
        NotFound: There are no tables.
    """
    _revision(connection)
    found = set(connection.scalars(select(ARTIFACTS.c.digest)))
    for inputs, outputs in connection.execute(select(JOBS.c.inputs, JOBS.c.outputs)):
        found.update(each["digest"] for each in (*inputs.values(), *outputs.values()))
    return sorted(found)


def _revision(connection: Connection) -> str:
    at = revision(connection)
    if at is None:
        raise NotFound("the database has no tables yet", fix="check VERMEIL_DATABASE_URL and VERMEIL_HOME")
    return at


def _rows_file(folder: Path, digest: str) -> Path:
    return folder / f"rows-{digest[:16]}.jsonl"


def _copy(digests: Iterable[str], source: ArtifactStore, target: ArtifactStore, say: Say) -> list[str]:
    """Copy what the target does not have; gives what could not be."""
    lost = []
    for digest in digests:
        if target.exists(digest):
            continue
        try:
            manifest = source.manifest(digest)
            target.publish(
                source.fetch(digest),
                kind=manifest.kind,
                metadata=manifest.metadata,
                provenance=source.provenance(digest),
            )
        except (NotFound, DataCorrupted) as error:
            say(f"{digest}: {error}")
            lost.append(digest)
    return lost
