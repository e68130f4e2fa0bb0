"""sha256 beside the disk: a chunk is hashed in a second thread while it is written in the first."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO


def write_hashed(chunks: Iterable[bytes], out: BinaryIO) -> tuple[str, int]:
    """Write all chunks; return sha256 and size of what was written."""
    digest = hashlib.sha256()
    num_bytes = 0
    pending: Future[None] | None = None
    with ThreadPoolExecutor(1, "sha256") as pool:
        for chunk in chunks:
            if pending:
                pending.result()  # at most two chunks in memory
            pending = pool.submit(digest.update, chunk)
            out.write(chunk)
            num_bytes += len(chunk)
    return digest.hexdigest(), num_bytes


def hash_file(path: Path) -> str:
    """sha256 of a file, 64 hexadecimal digits."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
