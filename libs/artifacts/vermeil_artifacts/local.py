"""A store in a local folder, shared safely by any number of processes.

Everything is written in incoming/ and renamed into place, the manifest last. A process that dies in
the middle leaves an artifact that is not there, and remains that `collect` recognises by their lock.
Needs a file system with hard links and flock (ext4, xfs, btrfs, zfs, apfs; NFS from version 4).
"""

import errno
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from vermeil_errors import NotFound

from vermeil_artifacts.blobs import Blobs
from vermeil_artifacts.folder import list_files, open_file, read_chunks
from vermeil_artifacts.hashing import write_hashed
from vermeil_artifacts.layout import Layout, sync_folder, write_synced
from vermeil_artifacts.manifest import ArtifactRef, FileEntry, Manifest, check_digest
from vermeil_artifacts.store import Collected, digest_of, provenance_document
from vermeil_artifacts.sweep import sweep

_NUM_WRITERS = 4  # many small files: their syncs share one commit of the file system's journal


class LocalStore:
    """Artifacts below one folder; see layout.py for what lies where."""

    def __init__(self, root: Path) -> None:
        self._layout = Layout(root)
        self._blobs = Blobs(self._layout)

    @property
    def root(self) -> Path:
        """The store's folder."""
        return self._layout.root

    def publish(
        self,
        folder: Path,
        *,
        kind: str,
        metadata: Mapping[str, str] = {},
        provenance: Mapping[str, str] = {},
    ) -> ArtifactRef:
        """Copy, hash and sync every file, then make the artifact appear at once."""
        paths = list_files(folder)
        with self._layout.errors_named(), self._layout.staging() as staging:

            def stage(number: int, path: str) -> FileEntry:
                with open_file(folder, path) as file:
                    return FileEntry(path, *write_hashed(read_chunks(file), staging / str(number)))

            with ThreadPoolExecutor(_NUM_WRITERS, "publish") as pool:
                entries = list(pool.map(stage, range(len(paths)), paths))
            manifest = Manifest(kind, tuple(entries), dict(metadata))
            with self._layout.locked():
                for number, entry in enumerate(entries):
                    self._blobs.adopt(staging / str(number), entry.sha256, entry.num_bytes)
                self._commit(manifest, provenance, staging)
        return manifest.ref

    def manifest(self, digest: str) -> Manifest:
        """Read the manifest and check it against its digest."""
        path = self._manifest_path(digest)
        with self._layout.errors_named():
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                raise no_such_artifact(digest, str(self.root)) from None
        return Manifest.from_bytes(data, digest)

    def fetch(self, artifact: str | ArtifactRef) -> Path:
        """A folder of hard links to verified blobs, or of copies where a blob has too many links."""
        digest = digest_of(artifact)
        tree = self._layout.trees / check_digest(digest)
        with self._layout.errors_named(), self._layout.locked():
            manifest = self.manifest(digest)
            for entry in manifest.files:
                self._blobs.verify(digest, entry)
            while not self._is_whole(tree, manifest):
                self._plant(tree, manifest)
        return tree

    def open(self, digest: str, path: str) -> BinaryIO:
        """One verified file."""
        return self.open_file(digest, self.manifest(digest).entry(path))

    def link(self, digest: str, path: str, *, seconds: int) -> None:  # noqa: ARG002  # the interface's
        """None: a folder has no addresses."""
        self.manifest(digest).entry(path)

    def exists(self, digest: str) -> bool:
        """Whether its manifest is there."""
        return self._manifest_path(digest).exists()

    def list(self) -> Iterator[str]:
        """Digests of all manifests."""
        with self._layout.errors_named():
            names = sorted(path.name for path in self._layout.manifests.iterdir())
        return (f"sha256:{name}" for name in names)

    def provenance(self, digest: str) -> dict[str, str]:
        """What the first publisher said about itself."""
        self.manifest(digest)
        found: dict[str, str] = json.loads((self._layout.provenance / check_digest(digest)).read_bytes())
        return found

    def collect(self, live: Collection[str], *, older_than: timedelta) -> Collected:
        """Remove old artifacts that nothing names, then blobs that nothing needs."""
        wanted = {check_digest(digest) for digest in live}
        with self._layout.errors_named(), self._layout.locked(exclusive=True):
            return sweep(self._layout, wanted, older_than)

    # A store that keeps a cache of itself here goes through these.

    @contextmanager
    def kept(self) -> Iterator[None]:
        """What is here stays: a collection waits until this ends."""
        with self._layout.errors_named(), self._layout.locked():
            yield

    def file_path(self, entry: FileEntry) -> Path:
        """Where a file's bytes are."""
        return self._blobs.path(entry.sha256)

    def open_file(self, digest: str, entry: FileEntry) -> BinaryIO:
        """One verified file of an artifact whose manifest may not be here."""
        with self._layout.errors_named(), self._layout.locked():
            return self._blobs.verify(digest, entry).open("rb")

    def has_file(self, entry: FileEntry) -> bool:
        """Whether the blob is there and sound."""
        with self._layout.errors_named():
            return self._blobs.is_healthy(entry.sha256, entry.num_bytes)

    def add_file(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Store one blob that no manifest needs yet; return sha256 and size."""
        with self._layout.errors_named(), self._layout.staging() as staging:
            sha256, num_bytes = write_hashed(chunks, staging / "0")
            with self._layout.locked():
                self._blobs.adopt(staging / "0", sha256, num_bytes)
        return sha256, num_bytes

    def add_manifest(self, manifest: Manifest, provenance: Mapping[str, str]) -> None:
        """Publish what `add_file` brought; DataCorrupted if a blob is missing."""
        with self._layout.errors_named(), self._layout.staging() as staging, self._layout.locked():
            for entry in manifest.files:
                self._blobs.verify(manifest.digest, entry)
            self._commit(manifest, provenance, staging)

    def _manifest_path(self, digest: str) -> Path:
        return self._layout.manifests / check_digest(digest)

    def _commit(self, manifest: Manifest, provenance: Mapping[str, str], staging: Path) -> None:
        path = self._manifest_path(manifest.digest)
        sync_folder(self._layout.blobs)
        write_synced(staging / "provenance", provenance_document(provenance))
        write_synced(staging / "manifest", manifest.to_bytes())
        with suppress(FileExistsError):
            os.link(staging / "provenance", self._layout.provenance / path.name)
            sync_folder(self._layout.provenance)
        (staging / "manifest").replace(path)  # also when there: a fresh age keeps it from collection
        sync_folder(self._layout.manifests)

    def _is_whole(self, tree: Path, manifest: Manifest) -> bool:
        try:
            return all(self._blobs.is_given(tree / entry.path, entry) for entry in manifest.files)
        except FileNotFoundError:
            return False

    def _plant(self, tree: Path, manifest: Manifest) -> None:
        with self._layout.staging() as staging:
            fresh = staging / "tree"
            folders = {fresh}
            for entry in manifest.files:
                target = fresh / entry.path
                target.parent.mkdir(parents=True, exist_ok=True)
                self._blobs.give(entry.sha256, target)
                folders.update(parent for parent in target.parents if parent.is_relative_to(fresh))
            for folder in folders - {fresh}:
                folder.chmod(0o555)
            try:
                fresh.rename(tree)
                tree.chmod(0o555)
            except OSError as error:
                if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise
                if not self._is_whole(tree, manifest):  # damaged, not just made by somebody quicker
                    tree.chmod(0o755)
                    tree.rename(staging / "damaged")


def no_such_artifact(digest: str, place: str) -> NotFound:
    """The error for a digest that is not published."""
    return NotFound(
        f"there is no artifact {digest} in {place}", fix="check the digest and VERMEIL_ARTIFACTS_URL"
    )
