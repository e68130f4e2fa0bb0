"""Backup and restore of a whole house: the rows, and the artifacts they name.

Rows are read as they are at one moment, then the artifacts they name are copied; an artifact is
published before a row names it, so this is consistent while all runs on. A folder keeps the last few
such snapshots; only artifacts that none of them has are copied. Artifacts are an ordinary local store,
so every byte is held to its digest when written and when read.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, select, text
from vermeil_artifacts import ArtifactStore, used_within
from vermeil_errors import Conflict, DataCorrupted, InvalidInput, NotFound

from vermeil_registry.database import Database
from vermeil_registry.dump import ROWS_AT_ONCE, dump, first_with_rows, load
from vermeil_registry.migrate import migrate, revision
from vermeil_registry.snapshots import FORMAT, LATEST, Say, Snapshot, SnapshotFolder, settle, sync
from vermeil_registry.tables import ARTIFACTS, JOBS

KEEP = 7


def back_up(
    database: Database, store: ArtifactStore, folder: Path, say: Say, *, keep: int = KEEP
) -> Snapshot:
    """Add a snapshot to those in `folder`, which may be new, and keep the newest `keep` of all.

    Raises:
        Conflict: Another backup is being taken into it.
        DataCorrupted: All else is saved, but these artifacts neither the store has any more, or not
            whole, nor the folder; or an older snapshot cannot be read, and what is too old is not removed.
    """
    if keep < 1:
        problem, fix = "is less than 1", f"write how many snapshots to keep, such as {KEEP}"
        raise InvalidInput.for_field("keep", keep, problem, fix)
    target = SnapshotFolder(folder)
    with target.alone():
        taken, (at, digest, num_rows, named) = datetime.now(UTC), _save_rows(database, target)
        say(f"{num_rows} rows at revision {at}; {len(named)} artifacts")
        lost = _copy(named, store, target.store(), say)
        time = taken.isoformat(timespec="seconds")
        made = Snapshot(FORMAT, time, at, digest, num_rows, tuple(named), tuple(lost))
        target.add(made)
        try:
            target.drop(keep, say)
        except (DataCorrupted, InvalidInput) as error:
            problem = f"the backup is written, but what is too old is not removed: {error}"
            raise DataCorrupted(problem) from error
    if lost:
        raise DataCorrupted(
            f"the backup is written, but the store lost {len(lost)} artifacts: {', '.join(lost[:5])}",
            fix="restore them from another backup, or publish the same files again",
        )
    return made


def restore(
    database: Database, store: ArtifactStore, folder: Path, say: Say, *, snapshot: str = LATEST
) -> Snapshot:
    """Bring a snapshot, by its time, into an empty database and a store; after a failure, run it again.

    Raises:
        NotFound: There is none, or none of that time.
        Conflict: The database has rows already.
        DataCorrupted: The backup is not what was written.
    """
    source = SnapshotFolder(folder)
    with source.opened(snapshot) as made:
        if database.read(revision) is not None:
            table = database.read(first_with_rows)
            if table is not None:
                raise Conflict(
                    f"the database has rows already, in {table}",
                    fix="restore into an empty one: a new VERMEIL_HOME or VERMEIL_DATABASE_URL",
                )
        rows, artifacts = _checked(source.rows_file(made.rows), made.rows), source.store()
        # What was lost may have been found again by a later snapshot.
        wanted = [each for each in made.artifacts if each not in made.lost or artifacts.exists(each)]
        lost = _copy(wanted, artifacts, store, say)
        if lost:
            raise DataCorrupted(
                f"the backup lost {len(lost)} artifacts: {', '.join(lost[:5])}", fix="take another copy of it"
            )
        _load(database, rows, made.revision)
    say(f"{made.num_rows} rows of {made.time} and {len(wanted)} artifacts are back")
    return made


def _checked(rows: Path, digest: str) -> Path:
    """The file, if it is what was written."""
    try:
        with rows.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        found = None
    if found != digest:
        raise DataCorrupted(f"{rows} is not what was written", fix="take another copy of the backup")
    return rows


def _load(database: Database, rows: Path, at: str) -> None:
    """Rows of one revision, and from there to the newest."""
    migrate(database, to=at)

    def work(connection: Connection) -> None:
        with rows.open("rb") as file:
            load(connection, file)

    database.write(work)
    migrate(database)


def _save_rows(database: Database, target: SnapshotFolder) -> tuple[str, str, int, list[str]]:
    """Revision, sha256 and number of rows, and the digests that they name."""
    fresh = target.path / "new.jsonl"
    with fresh.open("wb") as file:

        def work(connection: Connection) -> tuple[str, str, int, list[str]]:
            if not database.is_sqlite:
                connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            at = _revision(connection)
            hashed, num_rows = hashlib.sha256(), 0
            for line in dump(connection):
                file.write(line)
                hashed.update(line)
                num_rows += 1
            return at, hashed.hexdigest(), num_rows, named_artifacts(connection)

        saved = database.read(work)
        sync(file)  # a server ends transactions that wait for a slow disk
    settle(fresh, target.rows_file(saved[1]))
    return saved


def named_artifacts(connection: Connection) -> list[str]:
    """Digests of what is registered, and of what jobs that still run read and have laid down.

    Raises:
        NotFound: There are no tables.
    """
    _revision(connection)
    streamed = {"yield_per": ROWS_AT_ONCE}
    found = set(connection.scalars(select(ARTIFACTS.c.digest), execution_options=streamed))
    jobs = select(JOBS.c.inputs, JOBS.c.outputs)
    for inputs, outputs in connection.execute(jobs, execution_options=streamed):
        found.update(each["digest"] for each in (*inputs.values(), *outputs.values()))
    return sorted(found)


def _revision(connection: Connection) -> str:
    at = revision(connection)
    if at is None:
        raise NotFound("the database has no tables yet", fix="check VERMEIL_DATABASE_URL and VERMEIL_HOME")
    return at


def _copy(digests: Iterable[str], source: ArtifactStore, target: ArtifactStore, say: Say) -> list[str]:
    """Copy what the target does not have; gives what could not be."""
    lost = []
    for digest in digests:
        if target.exists(digest):
            continue
        try:
            manifest = source.manifest(digest)
            with used_within():  # all of them may be more than a cache has room for
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
