"""Files named by their sha256, read-only, verified when first read.

A process hashes each blob once, when it writes it (reading it back) or first reads it. The stamp of a
verified blob is remembered: once inode, size or modification time differ, it is hashed again. A file
system allows a file so many links (ext4: 65,000); beyond them trees hold copies, verified alike.
"""

import errno
import os
import shutil
from pathlib import Path
from typing import NamedTuple

from vermeil_errors import DataCorrupted

from vermeil_artifacts.hashing import hash_file
from vermeil_artifacts.layout import Layout
from vermeil_artifacts.manifest import FileEntry


class _Stamp(NamedTuple):
    inode: int
    num_bytes: int
    modified_ns: int


class Blobs:
    """The blobs of one local store."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._verified: dict[Path, _Stamp] = {}

    def path(self, sha256: str) -> Path:
        """Where the blob is, or would be."""
        return self._layout.blobs / sha256

    def adopt(self, staged: Path, sha256: str, num_bytes: int) -> None:
        """Make a file that `write_hashed` wrote a blob, unless the same is there in good health.

        Needs the shared lock.
        """
        if not self.is_healthy(sha256, num_bytes):
            stamp = _stamp(staged)
            staged.replace(self.path(sha256))
            self._verified[self.path(sha256)] = stamp

    def verify(self, digest: str, entry: FileEntry) -> Path:
        """The path of a blob whose bytes are what the manifest says."""
        path = self.path(entry.sha256)
        if not self.is_healthy(entry.sha256, entry.num_bytes):
            problem = "does not match its sha256" if path.exists() else "is missing from the store"
            raise DataCorrupted(
                f"{entry.path} of artifact {digest} {problem} ({path})",
                fix="publish the same files again, which mends it, or restore the blob from a copy",
                metadata={"digest": digest, "path": entry.path},
            )
        return path

    def is_healthy(self, sha256: str, num_bytes: int) -> bool:
        """Whether the blob is there and its bytes are those of its name."""
        return self._holds(self.path(sha256), sha256, num_bytes)

    def give(self, sha256: str, target: Path) -> None:
        """Make `target` the blob itself, or a copy of it where it has as many links as it may have."""
        try:
            os.link(self.path(sha256), target)
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            shutil.copyfile(self.path(sha256), target)
            target.chmod(0o444)

    def is_given(self, path: Path, entry: FileEntry) -> bool:
        """Whether `path` is the blob, or a sound copy of it; FileNotFoundError if it is not there."""
        if path.samefile(self.path(entry.sha256)):
            return True
        return self._holds(path, entry.sha256, entry.num_bytes)

    def _holds(self, path: Path, sha256: str, num_bytes: int) -> bool:
        try:
            stamp = _stamp(path)
        except FileNotFoundError:
            return False
        if self._verified.get(path) == stamp:
            return True
        sound = stamp.num_bytes == num_bytes and hash_file(path) == sha256
        if sound:
            self._verified[path] = stamp
        return sound


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return _Stamp(status.st_ino, status.st_size, status.st_mtime_ns)
