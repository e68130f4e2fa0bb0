"""A folder of backups: which snapshots it holds, how one more comes in, how old ones go.

backup-N.json       a snapshot: when it was taken, its file of rows, the artifacts that these name
rows-DIGEST.jsonl   rows; snapshots of the same rows share a file
artifacts/          a store, which all snapshots share

N counts up, whatever the clock does; a backup.json of earlier versions comes before all others. A
snapshot appears after all that it names and goes before it, so it is there whole or not at all.
"""

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from vermeil_artifacts import LocalStore
from vermeil_artifacts.layout import sync_folder
from vermeil_errors import Conflict, DataCorrupted, InvalidInput, NotFound, OutOfSpace, from_exception

LATEST = "latest"
FORMAT = 1
"""Of a snapshot's own file."""
_NAME = re.compile(r"backup(?:-([1-9][0-9]*))?\.json")
_FRESH = "backup.json.new"
_OWN = ("artifacts", "lock", _FRESH, "lost+found")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Snapshot:
    """What one backup holds: the content of its backup-N.json."""

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
    """Of these, the ones that neither the store had, or not whole, nor the folder."""


class SnapshotFolder:
    """The snapshots below one folder, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def store(self) -> LocalStore:
        """The artifacts of all snapshots; makes its folders."""
        return LocalStore(self.path / "artifacts")

    def rows_file(self, rows: str) -> Path:
        """Where the rows with this sha256 are, or would be."""
        return self.path / f"rows-{rows[:16]}.jsonl"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Make the folder, or see that it is one for backups; no other backup is taken into it meanwhile.

        Raises:
            OutOfSpace: Its disk is full; what was there is there.
        """
        with self._errors_named():
            self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_strangers()
            with (self.path / "lock").open("ab") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise Conflict(
                        f"another backup is being taken into {self.path}", fix="wait until it is done"
                    ) from error
                yield

    @contextmanager
    def opened(self, wanted: str) -> Iterator[Snapshot]:
        """The latest snapshot, or that of a time; nothing of it is removed meanwhile.

        Raises:
            NotFound: There is none, or none of that time.
            DataCorrupted: It is not what was written.
        """
        self._find(wanted)  # no store is made in a folder without it
        with self.store().kept():
            yield self._find(wanted)

    def list(self, say: Say) -> list[Snapshot]:
        """All snapshots that can be read, the newest first; the others are said.

        Raises:
            NotFound: There is none.
        """
        found = []
        for file in reversed(self._files().values()):
            try:
                found.append(_read(file))
            except (DataCorrupted, InvalidInput) as error:
                say(str(error))
        return found

    def add(self, snapshot: Snapshot) -> None:
        """Let it appear, after all that it names; a power cut takes neither it nor its rows any more."""
        number = max(self._numbered(), default=0) + 1
        with (self.path / _FRESH).open("w", encoding="utf-8") as file:
            json.dump(asdict(snapshot), file, indent=1)
            sync(file)
        settle(self.path / _FRESH, self.path / f"backup-{number}.json")

    def drop(self, keep: int, say: Say) -> None:
        """Remove all snapshots but the newest ones, then what none of these names.

        Raises:
            DataCorrupted, InvalidInput: One to be kept cannot be read. Nobody knows what it needs.
        """
        files = list(self._files().values())
        kept = [_read(file) for file in files[-keep:]]
        for file in files[:-keep]:
            file.unlink()
        sync_folder(self.path)
        named = {digest for each in kept for digest in each.artifacts}
        removed = self.store().collect(named, older_than=timedelta(0))
        rows = {self.rows_file(each.rows) for each in kept}
        for file in self.path.glob("rows-*.jsonl"):
            if file not in rows:
                file.unlink()
        say(
            f"snapshots: {len(kept)} kept, {len(files) - len(kept)} removed;"
            f" artifacts: {removed.num_manifests} removed, {removed.num_bytes:,} bytes"
        )

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = error.filename or str(self.path)
            known = from_exception(error)
            if isinstance(known, OutOfSpace):
                raise OutOfSpace(
                    f"no space left while writing {error.filename}",
                    fix=f"free some space below {self.path}, or keep fewer snapshots, then retry",
                ) from error
            problem, fix = f"cannot be used: {error.strerror}", "name a folder that you may write"
            raise InvalidInput.for_field("folder", str(self.path), problem, fix) from error

    def _find(self, wanted: str) -> Snapshot:
        newest = list(self._files().values())[-1]
        if wanted == LATEST:
            return _read(newest)
        moment, there = _moment(wanted), self.list(lambda _line: None)
        for each in there:
            if _moment(each.time) == moment:
                return each
        fix = f"write {LATEST}, or one of {', '.join(each.time for each in there)}"
        raise NotFound(f"is no snapshot in {self.path}", field="snapshot", value=wanted, fix=fix)

    def _files(self) -> dict[int, Path]:
        """Snapshots by their numbers, the oldest first."""
        found = self._numbered()
        if not found:
            raise NotFound(f"{self.path} holds no backup: there is no backup-1.json", fix="name its folder")
        return dict(sorted(found.items()))

    def _numbered(self) -> dict[int, Path]:
        named = ((_NAME.fullmatch(path.name), path) for path in self.path.glob("backup*.json"))
        return {int(name[1] or 0): path for name, path in named if name}

    def _refuse_strangers(self) -> None:
        # What an interrupted backup leaves may be gone on with; a new disk has lost+found.
        strangers = [
            each.name
            for each in self.path.iterdir()
            if each.name not in _OWN and each.suffix != ".jsonl" and not _NAME.fullmatch(each.name)
        ]
        if strangers and not self._numbered():
            problem = f"holds something else: {', '.join(sorted(strangers)[:3])}"
            fix = "name a new folder, or that of a backup"
            raise InvalidInput.for_field("folder", str(self.path), problem, fix)


def settle(fresh: Path, name: Path) -> None:
    """Give a synced file its name, down to the disk."""
    fresh.replace(name)
    sync_folder(name.parent)


def sync(file: IO[Any]) -> None:
    """Down to the disk: a power cut must not leave a file that is named and empty."""
    file.flush()
    os.fsync(file.fileno())


def _read(file: Path) -> Snapshot:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["format_version"] != FORMAT:
            problem = f"is a backup of format {found['format_version']}; this version reads {FORMAT}"
            raise InvalidInput.for_field("folder", str(file), problem, "use the version that wrote it")
        return Snapshot(**{**found, "artifacts": tuple(found["artifacts"]), "lost": tuple(found["lost"])})
    except (ValueError, KeyError, TypeError) as error:
        raise DataCorrupted(
            f"{file} is not what was written: {error}",
            fix="take another copy of it, or restore another snapshot (--list names them)",
        ) from error


def _moment(time: str) -> datetime:
    try:
        found = datetime.fromisoformat(time)
    except ValueError as error:
        fix = f"write {LATEST}, or a time like 2026-11-30T03:17:00Z"
        raise InvalidInput.for_field("snapshot", time, "is no time", fix) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
