"""Where files lie: a local folder or an S3 prefix, both as entries in the order of their names.

Names are never used as paths without a look: what leads out of the folder is an entry that cannot be read.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NoReturn

from vermeil_errors import InvalidInput, PermissionDenied, VermeilError
from vermeil_media import read_bytes

from vermeil_ingest.sources import FoundFile, Source, find_files

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic")
"""Endings of files that mean to be pictures, also of those that are not decoded: one is told so."""


@dataclass(frozen=True)
class Entry:
    """One file."""

    id: str
    """Path within the source, with forward slashes."""
    read: Callable[[int], bytes]
    """All of it, up to so many bytes."""
    local: Callable[[], Path]
    """A local file with its content."""

    @property
    def name(self) -> str:
        """The last part of its path, in lower case."""
        return PurePosixPath(self.id).name.lower()

    @property
    def is_picture(self) -> bool:
        """Whether its name says that it is one."""
        return self.name.endswith(PICTURES)


@dataclass(frozen=True)
class Shelf:
    """All entries of a source."""

    source: Source
    entries: tuple[Entry, ...]
    folders: tuple[str, ...] = ()
    """Folders directly and one step below the source, also empty ones."""


OpenBucket = Callable[[Source], Shelf]
"""Lists an s3:// source."""


def no_bucket(source: Source) -> Shelf:
    """For those who have no S3 server."""
    raise InvalidInput.for_field("uri", source.uri, "needs an S3 server", "set VERMEIL_S3_ENDPOINT")


def local_shelf(source: Source, roots: Sequence[Path], counts: Counter[str]) -> Shelf:
    """A file or folder of this machine."""
    entries = local_entries(source, roots, counts)
    folders: tuple[str, ...] = ()
    if source.path.is_dir():
        found = [path for depth in ("*", "*/*") for path in source.path.glob(depth) if path.is_dir()]
        names = sorted(path.relative_to(source.path).as_posix() for path in found)
        folders = tuple(name for name in names if not any(part.startswith(".") for part in name.split("/")))
    return Shelf(source, entries, folders)


def local_entries(source: Source, roots: Sequence[Path], counts: Counter[str]) -> tuple[Entry, ...]:
    """The files of a local source."""
    return tuple(_entry(file) for file in find_files(source, roots, counts))


def file_entry(identity: str, path: Path) -> Entry:
    """A local file as an entry."""
    return Entry(identity, lambda max_bytes: read_bytes(path, max_bytes=max_bytes), lambda: path)


def _entry(file: FoundFile) -> Entry:
    home = file.source.path if file.source.path.is_dir() else file.source.path.parent
    if file.path.resolve().is_relative_to(home.resolve()):
        return file_entry(file.id, file.path)
    error = PermissionDenied(
        "is a link that leads out of the folder",
        field=file.id,
        fix="copy what it points at, or leave it out",
        metadata={"problem": "escaping"},
    )
    return Entry(file.id, partial(_refuse, error), partial(_refuse, error))


def _refuse(error: VermeilError, *_: object) -> NoReturn:
    raise error
