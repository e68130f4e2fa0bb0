"""The folders of a local store, its lock, and the steps that must be atomic.

blobs/<sha256>          file contents, read-only, each once
manifests/<sha256>      canonical JSON; its presence is what "published" means
provenance/<sha256>     JSON beside it, not hashed
trees/<sha256>/         hard links to blobs, or copies where they have too many, as `fetch` gives them
incoming/<random>/      being written; its writer holds a lock on the folder
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vermeil_errors import OutOfSpace, Unavailable, VermeilError, from_exception


class Layout:
    """Paths below one root, and the primitives on them."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.blobs = self.root / "blobs"
        self.manifests = self.root / "manifests"
        self.provenance = self.root / "provenance"
        self.trees = self.root / "trees"
        self.incoming = self.root / "incoming"
        with self.errors_named():
            for folder in (self.blobs, self.manifests, self.provenance, self.trees, self.incoming):
                folder.mkdir(parents=True, exist_ok=True)
            (self.root / "lock").touch()

    @contextmanager
    def errors_named(self) -> Iterator[None]:
        """Turn operating system errors into ours, naming the store."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or str(self.root)
            translated: VermeilError = from_exception(error)
            if not isinstance(translated, OutOfSpace):
                translated = Unavailable(
                    f"the artifact store {self.root} cannot be used: {error.strerror} ({error.filename})",
                    fix="check that the folder exists and may be written",
                )
            raise translated from error

    @contextmanager
    def locked(self, *, exclusive: bool = False) -> Iterator[None]:
        """Keep collection (exclusive) apart from everything that relies on blobs staying (shared)."""
        with (self.root / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield

    @contextmanager
    def locked_unless_busy(self) -> Iterator[bool]:
        """The exclusive lock, or False at once where somebody has either."""
        with (self.root / "lock").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A fresh folder in incoming/, locked while in use, so that remains of the dead are known."""
        while True:
            folder = self.incoming / uuid.uuid4().hex
            folder.mkdir()
            with suppress(FileNotFoundError):
                descriptor = os.open(folder, os.O_RDONLY)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if folder.exists():  # else a collector took it for abandoned before the lock
                    break
                os.close(descriptor)
        try:
            yield folder
        finally:
            remove_tree(folder)
            os.close(descriptor)

    def remove_if_abandoned(self, folder: Path) -> bool:
        """Remove a folder of incoming/ whose writer is gone."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(folder)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, data: bytes) -> None:
    """Write a small file down to the disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_tree(folder: Path) -> None:
    """Remove a folder whose subfolders may be read-only."""
    for parent, _, _ in os.walk(folder):
        Path(parent).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
