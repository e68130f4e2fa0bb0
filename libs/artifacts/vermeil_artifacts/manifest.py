"""What an artifact is: a manifest of files, and the reference that names it by its sha256.

The digest is a pure function of content: kind, paths, bytes and metadata, nothing of when, where or who.
Every path, kind and digest is checked here, so no name from outside ever becomes a path elsewhere.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from vermeil_errors import DataCorrupted, InvalidInput

FORMAT_VERSION = 1
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KIND = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
_MAX_PART_BYTES = 255  # what ext4, xfs, apfs and ntfs all take
_MAX_PATH_BYTES = 1000  # an S3 key holds 1024


@dataclass(frozen=True)
class ArtifactRef:
    """Names an artifact; this is what travels between services."""

    digest: str
    """sha256 of the manifest, as "sha256:" and 64 hexadecimal digits."""
    kind: str
    """What the tree is: "dataset", "encoded-dataset", "model", "checkpoint", "report"."""
    num_bytes: int
    """Sum of the sizes of all files, in bytes."""

    def __post_init__(self) -> None:
        check_digest(self.digest)
        check_kind(self.kind)
        if self.num_bytes < 0:
            raise InvalidInput.for_field("num_bytes", self.num_bytes, "must not be negative")


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact."""

    path: str
    """Relative, with "/" between parts."""
    sha256: str
    """Of the file's bytes, 64 hexadecimal digits."""
    num_bytes: int
    """Its size."""

    def __post_init__(self) -> None:
        check_path(self.path)
        if not _SHA256.fullmatch(self.sha256):
            raise InvalidInput.for_field("sha256", self.sha256, "must be 64 hexadecimal digits")
        if self.num_bytes < 0:
            raise InvalidInput.for_field("num_bytes", self.num_bytes, "must not be negative")


@dataclass(frozen=True)
class Manifest:
    """The list of an artifact's files, ordered by path."""

    kind: str
    """What the tree is, such as "model"."""
    files: tuple[FileEntry, ...]
    """At least one, each path once."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Facts about the content; part of the digest."""
    format_version: int = FORMAT_VERSION
    """Version of this format."""

    def __post_init__(self) -> None:
        check_kind(self.kind)
        if not self.files:
            raise InvalidInput("an artifact needs at least one file", fix="write the files first")
        object.__setattr__(self, "files", tuple(sorted(self.files, key=lambda entry: entry.path)))
        _check_no_overlap([entry.path for entry in self.files])
        for key, value in self.metadata.items():
            if not (isinstance(key, str) and isinstance(value, str)):
                raise InvalidInput.for_field(f"metadata.{key}", value, "must be text", "convert it to str")

    @property
    def num_bytes(self) -> int:
        """Sum of the sizes of all files."""
        return sum(entry.num_bytes for entry in self.files)

    @property
    def digest(self) -> str:
        """The sha256 of the canonical JSON."""
        return f"sha256:{hashlib.sha256(self.to_bytes()).hexdigest()}"

    @property
    def ref(self) -> ArtifactRef:
        """The reference that names this manifest."""
        return ArtifactRef(self.digest, self.kind, self.num_bytes)

    def entry(self, path: str) -> FileEntry:
        """The file with this path."""
        for entry in self.files:
            if entry.path == path:
                return entry
        raise artifact_has_no_file(self, path)

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, no spaces, UTF-8."""
        document = {
            "format_version": self.format_version,
            "kind": self.kind,
            "files": [
                {"path": entry.path, "sha256": entry.sha256, "num_bytes": entry.num_bytes}
                for entry in self.files
            ],
            "metadata": dict(self.metadata),
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, data: bytes, digest: str) -> Self:
        """Read a manifest and check that it is the one `digest` names."""
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise DataCorrupted(
                f"the manifest of artifact {digest} does not match its digest",
                fix="restore it from a copy, or publish the same files again",
            )
        document = json.loads(data)
        if document["format_version"] != FORMAT_VERSION:
            raise InvalidInput.for_field(
                "format_version",
                document["format_version"],
                f"this code reads manifests of version {FORMAT_VERSION}",
                "use the version of Vermeil that wrote it",
            )
        files = tuple(
            FileEntry(item["path"], item["sha256"], item["num_bytes"]) for item in document["files"]
        )
        return cls(document["kind"], files, document["metadata"])


def artifact_has_no_file(manifest: Manifest, path: str) -> InvalidInput:
    """The error for a path that is not in a manifest."""
    some = ", ".join(entry.path for entry in manifest.files[:5])
    return InvalidInput.for_field(
        "path", path, f"artifact {manifest.digest} has no such file", f"it has {some}"
    )


def check_digest(digest: str) -> str:
    """Return the 64 hexadecimal digits, or say what a digest looks like."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidInput.for_field("digest", digest, "must be sha256: and 64 hexadecimal digits")
    return digest.removeprefix("sha256:")


def check_kind(kind: str) -> None:
    """Refuse what could not be the name of a kind."""
    if not _KIND.fullmatch(kind):
        raise InvalidInput.for_field(
            "kind", kind, "must be 1 to 63 of a-z, 0-9 and -, starting with a letter"
        )


def check_path(path: str) -> None:
    """Refuse paths that leave their folder or that some file system cannot hold."""
    problem = _path_problem(path)
    if problem:
        raise InvalidInput.for_field("path", path, problem, "rename the file")


def _path_problem(path: str) -> str | None:
    try:
        num_bytes = len(path.encode())
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    parts = path.split("/")
    if path.startswith("/"):
        return "must be relative"
    if any(part in {"", ".", ".."} for part in parts):
        return "must not have empty, . or .. parts"
    if "\\" in path or any(ord(character) < 32 or ord(character) == 127 for character in path):
        return "must not have backslashes or control characters"
    if num_bytes > _MAX_PATH_BYTES or any(len(part.encode()) > _MAX_PART_BYTES for part in parts):
        return f"is longer than {_MAX_PATH_BYTES} bytes, or a part than {_MAX_PART_BYTES}"
    return None


def _check_no_overlap(paths: list[str]) -> None:
    known = set(paths)
    if len(known) != len(paths):
        raise InvalidInput("a path stands twice in the manifest", fix="list each file once")
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in known:
                raise InvalidInput.for_field("path", path, "lies below another file", "rename one of them")
