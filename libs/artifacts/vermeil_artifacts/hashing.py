"""Writing a file and its sha256 at the same time, as fast as the disk takes it.

The hash is of the bytes read back from the file that was written, by a second thread that follows
the writer. So it speaks of what is stored, and costs no time on an idle core: 64 MB take as long as
without it. Pages are handed to the disk while writing goes on, so the final sync finds little to do.
"""

import errno
import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

_PIECE_BYTES = 2**18  # stays in the core's own cache
_STEP_BYTES = 2**22


def write_hashed(chunks: Iterable[bytes], path: Path) -> tuple[str, int]:
    """Write a new file down to the disk; return sha256 and size of what is now stored."""
    progress: SimpleQueue[int | None] = SimpleQueue()
    with path.open("xb", buffering=0) as out, ThreadPoolExecutor(1, "sha256") as pool:
        digest = pool.submit(_hash_following, path, progress)
        try:
            num_bytes = _write(chunks, out, progress)
        finally:
            progress.put(None)
        os.fchmod(out.fileno(), 0o444)
        os.fsync(out.fileno())
        return digest.result(), num_bytes


def hash_file(path: Path) -> str:
    """sha256 of a file, 64 hexadecimal digits."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(chunks: Iterable[bytes], out: BinaryIO, progress: "SimpleQueue[int | None]") -> int:
    written, handed_over = 0, 0
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            rest = rest[out.write(rest) :]  # a raw file may take less than it is given
        written += len(chunk)
        if written - handed_over >= _STEP_BYTES:
            progress.put(written)
            _start_writeback(out, handed_over, written - handed_over)
            handed_over = written
    progress.put(written)
    return written


def _start_writeback(out: BinaryIO, offset: int, num_bytes: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(out.fileno(), offset, num_bytes, os.POSIX_FADV_DONTNEED)


def _hash_following(path: Path, progress: "SimpleQueue[int | None]") -> str:
    digest = hashlib.sha256()
    piece = memoryview(bytearray(_PIECE_BYTES))
    done = 0
    with path.open("rb", buffering=0) as file:
        while (written := progress.get()) is not None:
            while done < written:
                size = file.readinto(piece[: min(_PIECE_BYTES, written - done)])
                if not size:
                    raise OSError(errno.EIO, "the file shrank while it was written", str(path))
                digest.update(piece[:size])
                done += size
    return digest.hexdigest()
