"""Reads the folder that is about to be published, and refuses what cannot be an artifact.

Symbolic links are refused rather than followed: an artifact must not depend on, or reveal, anything
outside its folder. Empty subfolders leave no trace, because a manifest lists files.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from vermeil_errors import InvalidInput

from vermeil_artifacts.manifest import check_path

CHUNK_BYTES = 2**18


def list_files(folder: Path) -> list[str]:
    """Relative paths of all regular files below `folder`, sorted."""
    if folder.is_symlink() or not folder.is_dir():
        raise InvalidInput.for_field("folder", str(folder), "is not a folder", "give the folder to publish")
    paths = sorted(_walk(folder, ""))
    if not paths:
        raise InvalidInput.for_field("folder", str(folder), "has no files", "write the files first")
    return paths


def open_file(folder: Path, path: str) -> BinaryIO:
    """Open a file for reading without following a link put there meanwhile."""
    try:
        return os.fdopen(
            os.open(folder / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0
        )
    except OSError as error:
        raise InvalidInput.for_field(
            "folder",
            str(folder / path),
            f"cannot be read: {error.strerror}",
            "leave the folder alone meanwhile",
        ) from error


def read_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of a file in pieces that stay in the core's cache."""
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            check_path(path)
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                yield from _walk(folder / entry.name, f"{path}/")
            elif stat.S_ISREG(mode):
                yield path
            else:
                what = "a symbolic link" if stat.S_ISLNK(mode) else "neither a file nor a folder"
                raise InvalidInput.for_field(
                    "folder", path, f"is {what}", "copy the file itself into the folder"
                )
