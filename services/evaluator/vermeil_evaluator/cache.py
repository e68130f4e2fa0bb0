"""Answers that were given already, kept under what was asked: asking again costs nothing.

One SQLite file. A batch of answers is one transaction, so a process killed at any moment leaves all
batches before it, whole. Several evaluations may use one file at a time.
"""

import hashlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from vermeil_errors import DataCorrupted, OutOfSpace, Unavailable, VermeilError

FORMAT_VERSION = 1
FILE = f"answers-{FORMAT_VERSION}.sqlite"
_BUSY_SECONDS = 60.0


class AnswerCache:
    """A file of answers in `folder`, made when it is not there; None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.num_found = 0
        """Answers that were there."""
        self.num_kept = 0
        """Answers that were put."""
        self._path = folder / FILE if folder else None
        self._lock = threading.Lock()
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        with self._explained():
            self._database = sqlite3.connect(
                self._path or ":memory:", timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None
            )
            # synchronous=NORMAL: what a killed process wrote stays; a power cut may cost the last batches.
            for statement in (
                "PRAGMA journal_mode=WAL",
                "PRAGMA synchronous=NORMAL",
                "CREATE TABLE IF NOT EXISTS answers"
                " (key BLOB PRIMARY KEY, sum BLOB, answer BLOB) WITHOUT ROWID",
            ):
                self._database.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def get(self, key: bytes) -> bytes | None:
        """The answer kept under this key; None if there is none or it was damaged."""
        with self._lock, self._explained():
            row = self._database.execute("SELECT sum, answer FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None or _sum(row[1]) != row[0]:
            return None
        self.num_found += 1
        return bytes(row[1])

    def put(self, answers: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep a batch, all or nothing."""
        rows = [(key, _sum(answer), answer) for key, answer in answers]
        with self._lock, self._explained():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
        self.num_kept += len(rows)

    def __len__(self) -> int:
        with self._lock, self._explained():
            return int(self._database.execute("SELECT COUNT(*) FROM answers").fetchone()[0])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._as_ours(error) from error

    def _as_ours(self, error: sqlite3.Error) -> VermeilError:
        name = str(self._path)
        match getattr(error, "sqlite_errorname", ""):
            case "SQLITE_FULL":
                return OutOfSpace(f"no room for answers: {error}", field=name)
            case "SQLITE_CORRUPT" | "SQLITE_NOTADB":
                return DataCorrupted("is no file of answers", field=name, fix="delete it; it is only a cache")
            case _:
                return Unavailable(f"cannot keep answers: {error}", field=name)


def _sum(answer: bytes) -> bytes:
    return hashlib.blake2b(answer, digest_size=8).digest()
