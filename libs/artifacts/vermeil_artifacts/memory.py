"""A fake store: everything in this process's memory, for tests of what uses a store.

Keeps every promise of the interface except durability; fetched folders are temporary.
"""

import hashlib
import io
import json
import tempfile
import threading
import weakref
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from vermeil_errors import DataCorrupted

from vermeil_artifacts.folder import list_files, open_file
from vermeil_artifacts.layout import remove_tree
from vermeil_artifacts.local import no_such_artifact
from vermeil_artifacts.manifest import ArtifactRef, FileEntry, Manifest, check_digest
from vermeil_artifacts.store import Collected, digest_of, provenance_document


class MemoryStore:
    """Artifacts in dictionaries."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        """Contents by sha256; a test may damage them."""
        self._manifests: dict[str, bytes] = {}
        self._provenance: dict[str, bytes] = {}
        self._published: dict[str, datetime] = {}
        self._lock = threading.RLock()
        self._folder = Path(tempfile.mkdtemp(prefix="vermeil-memory-store-"))
        weakref.finalize(self, remove_tree, self._folder)

    def publish(
        self,
        folder: Path,
        *,
        kind: str,
        metadata: Mapping[str, str] = {},
        provenance: Mapping[str, str] = {},
    ) -> ArtifactRef:
        """Read every file, then make the artifact appear at once."""
        blobs, entries = {}, []
        for path in list_files(folder):
            with open_file(folder, path) as file:
                data = file.read()
            sha256 = hashlib.sha256(data).hexdigest()
            blobs[sha256] = data
            entries.append(FileEntry(path, sha256, len(data)))
        manifest = Manifest(kind, tuple(entries), dict(metadata))
        with self._lock:
            self.blobs |= blobs
            self._provenance.setdefault(manifest.digest, provenance_document(provenance))
            self._manifests[manifest.digest] = manifest.to_bytes()
            self._published[manifest.digest] = datetime.now(UTC)
        return manifest.ref

    def manifest(self, digest: str) -> Manifest:
        """The list of files."""
        if not self.exists(digest):
            raise no_such_artifact(digest, "memory")
        return Manifest.from_bytes(self._manifests[digest], digest)

    def fetch(self, artifact: str | ArtifactRef) -> Path:
        """Write the files into a temporary folder."""
        digest = digest_of(artifact)
        with self._lock:
            manifest = self.manifest(digest)
            tree = self._folder / check_digest(digest)
            contents = {entry.path: self._read(digest, entry) for entry in manifest.files}
            if not tree.exists():
                for path, data in contents.items():
                    (tree / path).parent.mkdir(parents=True, exist_ok=True)
                    (tree / path).write_bytes(data)
                for made in [tree, *tree.rglob("*")]:
                    made.chmod(0o555 if made.is_dir() else 0o444)
        return tree

    def open(self, digest: str, path: str) -> BinaryIO:
        """One file."""
        return io.BytesIO(self._read(digest, self.manifest(digest).entry(path)))

    def link(self, digest: str, path: str, *, seconds: int) -> None:  # noqa: ARG002  # the interface's
        """None: memory has no addresses."""
        self.manifest(digest).entry(path)

    def exists(self, digest: str) -> bool:
        """Whether it was published."""
        check_digest(digest)
        return digest in self._manifests

    def list(self) -> Iterator[str]:
        """Digests of all artifacts."""
        return iter(sorted(self._manifests))

    def provenance(self, digest: str) -> dict[str, str]:
        """What the first publisher said about itself."""
        self.manifest(digest)
        found: dict[str, str] = json.loads(self._provenance[digest])
        return found

    def collect(self, live: Collection[str], *, older_than: timedelta) -> Collected:
        """Remove old artifacts that nothing names, then blobs that nothing needs."""
        for digest in live:
            check_digest(digest)
        newest = datetime.now(UTC) - older_than
        with self._lock:
            doomed = [
                digest for digest, time in self._published.items() if digest not in live and time <= newest
            ]
            for digest in doomed:
                del self._manifests[digest], self._provenance[digest], self._published[digest]
                remove_tree(self._folder / check_digest(digest))
            needed = {entry.sha256 for digest in self._manifests for entry in self.manifest(digest).files}
            removed = [self.blobs.pop(sha256) for sha256 in self.blobs.keys() - needed]
        return Collected(len(doomed), len(removed), sum(map(len, removed)))

    def _read(self, digest: str, entry: FileEntry) -> bytes:
        data = self.blobs[entry.sha256]
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise DataCorrupted(
                f"{entry.path} of artifact {digest} does not match its sha256 (memory)",
                fix="publish the same files again, which mends it",
                metadata={"digest": digest, "path": entry.path},
            )
        return data
