"""Files named by their sha256, read-only, verified when first read.

A stamp (inode, size, modification time) of a verified blob is remembered, so a process hashes each
blob once, and again when somebody has written to it.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from vermeil_errors import DataCorrupted

from vermeil_artifacts.hashing import hash_file, write_hashed
from vermeil_artifacts.layout import Layout
from vermeil_artifacts.manifest import FileEntry

_Stamp = tuple[int, int, int]


class Blobs:
    """The blobs of one local store."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._verified: dict[str, _Stamp] = {}

    def path(self, sha256: str) -> Path:
        """Where the blob is, or would be."""
        return self._layout.blobs / sha256

    def stage(self, chunks: Iterable[bytes], staged: Path) -> tuple[str, int]:
        """Write a file that may become a blob, down to the disk; return sha256 and size."""
        with staged.open("xb", buffering=0) as out:
            sha256, num_bytes = write_hashed(chunks, out)
            os.fchmod(out.fileno(), 0o444)
            os.fsync(out.fileno())
        return sha256, num_bytes

    def adopt(self, staged: Path, sha256: str, num_bytes: int) -> None:
        """Make a staged file a blob, unless the same is there in good health. Needs the shared lock."""
        if not self.is_healthy(sha256, num_bytes):
            staged.replace(self.path(sha256))

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
        path = self.path(sha256)
        try:
            status = path.stat()
        except FileNotFoundError:
            return False
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._verified.get(sha256) == stamp:
            return True
        healthy = status.st_size == num_bytes and hash_file(path) == sha256
        if healthy:
            self._verified[sha256] = stamp
        return healthy
