"""Which files a source means: one file, or a folder with all below it, in a fixed order.

Hidden files and folders are left out, links to folders aren't followed, and nothing outside the
allowed roots is ever opened. Knows names, not contents.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vermeil_errors import InvalidInput, NotFound, PermissionDenied

from vermeil_ingest.globs import matches


@dataclass(frozen=True)
class Source:
    """Where raw files are."""

    path: Path
    """A file or a folder, absolute."""
    include: tuple[str, ...] = ()
    """Only files that match one of these globs; none means all."""
    exclude: tuple[str, ...] = ()
    """Not files that match one of these globs."""
    fields: tuple[str, ...] = ("text",)
    """Fields of .jsonl and .parquet records, joined by a blank line; of pictures, each a caption."""
    uri: str = ""
    """Of what is not a file: s3://bucket/prefix, digits: or shapes:; `path` then is its name."""

    @property
    def scheme(self) -> str:
        """s3, digits or shapes; empty for a file or folder."""
        return self.uri.partition(":")[0]


@dataclass(frozen=True)
class FoundFile:
    """One file of a source."""

    path: Path
    """Where it lies; of an S3 object bucket and key, for people."""
    id: str
    """Path within the source, with forward slashes: the same wherever the source lies."""
    source: Source
    fetch: Callable[[], Path] | None = None
    """Brings an object here, and says where it is; None for a file of this machine."""

    @property
    def local(self) -> Path:
        """A local file with its content."""
        return self.fetch() if self.fetch else self.path


def is_elsewhere(uri: str) -> bool:
    """Whether a URI means something that is not a file."""
    return uri.startswith(("s3://", "digits:", "shapes:"))


def path_of(uri: str, field: str) -> Path:
    """The path that a source names: absolute, or a file:// URI."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        path = Path(unquote(parts.path))
    elif "://" not in uri:
        path = Path(uri)
    else:
        raise InvalidInput.for_field(
            field, uri, "is not a local file", "give an absolute path or a file:// URI"
        )
    if not path.is_absolute() or "\0" in uri:
        raise InvalidInput.for_field(
            field, uri, "is not an absolute path", "write it from the root, as /data/texts"
        )
    return path


def check_source(path: Path, roots: Sequence[Path], field: str) -> None:
    """The source is there and lies within the roots."""
    if not _inside(path, roots):
        allowed = ", ".join(str(root) for root in roots)
        raise PermissionDenied(
            "lies outside the folders this service may read",
            field=field,
            value=str(path),
            fix=f"move it below {allowed}, or set VERMEIL_INGEST_ROOTS",
        )
    if not path.exists():
        raise NotFound("does not exist", field=field, value=str(path))


def find_files(source: Source, roots: Sequence[Path], counts: Counter[str]) -> Iterator[FoundFile]:
    """Files of a source in the order of their names; what is passed over goes into the counts."""
    if not source.path.is_dir():
        found = [FoundFile(source.path, _portable(source.path.name), source)]
    else:
        found = list(_walk(source, counts))
    for file in found:
        if any(matches(file.id, pattern) for pattern in source.exclude) or (
            source.include and not any(matches(file.id, pattern) for pattern in source.include)
        ):
            counts["files_excluded"] += 1
        elif not _inside(file.path, roots):
            counts["files_outside_roots"] += 1
        else:
            yield file


def _walk(source: Source, counts: Counter[str]) -> Iterator[FoundFile]:
    """Files to read, and at the end the folders that could not be listed, for their readers to refuse."""
    closed: list[Path] = []
    for folder, folders, names in os.walk(
        source.path, onerror=lambda error: closed.append(Path(error.filename))
    ):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith("."):
                counts["files_hidden"] += 1
                continue
            yield _found(Path(folder, name), source)
    for path in closed:
        yield _found(path, source)


def _found(path: Path, source: Source) -> FoundFile:
    return FoundFile(path, _portable(path.relative_to(source.path).as_posix()), source)


def _inside(path: Path, roots: Sequence[Path]) -> bool:
    resolved = path.resolve()
    return any(resolved.is_relative_to(root.resolve()) for root in roots)


def _portable(name: str) -> str:
    """File names may hold any bytes; ids are text."""
    return os.fsencode(name).decode("utf-8", "replace")
