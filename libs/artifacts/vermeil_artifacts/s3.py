"""A store on any S3 server, with a local store as its cache, so that fetched files can be mapped.

Blobs and manifests are objects; the manifest is written last and is the point of publication. What
passes the network is hashed on arrival. Collection and publication may race: a publisher makes the
blobs it reuses young again, and looks for all of them once more after its manifest is visible. Whoever
fetches keeps the cache from being collected, for it counts on what it finds there.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from vermeil_errors import DataCorrupted, NotFound

from vermeil_artifacts.cache import Cache, used_within
from vermeil_artifacts.local import no_such_artifact
from vermeil_artifacts.manifest import ArtifactRef, FileEntry, Manifest, check_digest
from vermeil_artifacts.s3_remote import Remote, Stored
from vermeil_artifacts.store import Collected, digest_of, provenance_document

_REFRESH_AFTER = timedelta(minutes=10)
_NUM_TRANSFERS = 4


class S3Store:
    """Artifacts below one prefix of a bucket."""

    def __init__(self, remote: Remote, cache: Cache) -> None:
        self._remote = remote
        self._cache = cache
        remote.probe()

    def publish(
        self,
        folder: Path,
        *,
        kind: str,
        metadata: Mapping[str, str] = {},
        provenance: Mapping[str, str] = {},
    ) -> ArtifactRef:
        """Publish in the cache, upload what the server lacks, then the manifest."""

        def publish() -> ArtifactRef:
            ref = self._cache.publish(folder, kind=kind, metadata=metadata, provenance=provenance)
            self._cache.grew(ref.num_bytes)
            with used_within():
                self._cache.use(ref.digest)  # it is the last that the cache forgets
            manifest = self._cache.manifest(ref.digest)
            self._upload(manifest)
            name = check_digest(ref.digest)
            self._remote.put_new(f"provenance/{name}", provenance_document(provenance))
            self._remote.put_bytes(f"manifests/{name}", manifest.to_bytes())
            self._upload(manifest)  # a collector may have removed what was there a moment ago
            return ref

        return self._cache.with_room(publish)

    def manifest(self, digest: str) -> Manifest:
        """From the cache, for it never changes, or else from the server."""
        with suppress(NotFound, DataCorrupted):
            return self._cache.manifest(digest)
        try:
            data = self._remote.read(f"manifests/{check_digest(digest)}")
        except NotFound:
            raise no_such_artifact(digest, self._remote.url) from None
        return Manifest.from_bytes(data, digest)

    def fetch(self, artifact: str | ArtifactRef) -> Path:
        """Download what the cache lacks, and give the cache's folder."""
        digest = digest_of(artifact)

        def fetch() -> Path:
            folder = self._in_cache(digest) or self._download_all(digest)
            self._cache.use(digest)
            return folder

        return self._cache.with_room(fetch)

    def open(self, digest: str, path: str) -> BinaryIO:
        """One file, downloaded alone."""
        entry = self.manifest(digest).entry(path)

        def fetch_and_open() -> BinaryIO:
            self._download(digest, entry)
            return self._cache.open_file(digest, entry)

        return self._cache.with_room(fetch_and_open)

    def link(self, digest: str, path: str, *, seconds: int) -> str | None:
        """Signed by the store's key for the server's public address; nobody is asked."""
        entry = self.manifest(digest).entry(path)
        return self._remote.link(f"blobs/{entry.sha256}", PurePosixPath(path).name, seconds)

    def exists(self, digest: str) -> bool:
        """Whether its manifest is on the server."""
        return self._remote.stat(f"manifests/{check_digest(digest)}") is not None

    def list(self) -> Iterator[str]:
        """Digests of all manifests on the server."""
        return (f"sha256:{_name(stored)}" for stored in self._remote.list("manifests/"))

    def provenance(self, digest: str) -> dict[str, str]:
        """What the first publisher said about itself."""
        self.manifest(digest)
        found: dict[str, str] = json.loads(self._remote.read(f"provenance/{check_digest(digest)}"))
        return found

    def collect(self, live: Collection[str], *, older_than: timedelta) -> Collected:
        """Remove old artifacts that nothing names, then blobs that nothing needs; in the cache too."""
        wanted = {check_digest(digest) for digest in live}
        newest = datetime.now(UTC) - older_than
        manifests = {_name(stored): stored for stored in self._remote.list("manifests/")}
        doomed = {
            name for name, stored in manifests.items() if name not in wanted and stored.modified <= newest
        }
        needed = {
            entry.sha256
            for name in manifests.keys() - doomed
            for entry in self.manifest(f"sha256:{name}").files
        }
        gone = {name for name in doomed if self._remove_if_old(manifests[name], newest)}
        self._remote.remove(
            [
                stored.key
                for stored in self._remote.list("provenance/")
                if _name(stored) in gone or (_name(stored) not in manifests and stored.modified <= newest)
            ]
        )
        unneeded = [stored for stored in self._remote.list("blobs/") if _name(stored) not in needed]
        removed = [stored for stored in unneeded if self._remove_if_old(stored, newest)]
        self._remote.give_up_unfinished("blobs/", newest)
        self._cache.collect(live, older_than=older_than)
        return Collected(len(gone), len(removed), sum(stored.num_bytes for stored in removed))

    def _upload(self, manifest: Manifest) -> None:
        blobs = {entry.sha256: entry for entry in manifest.files}
        with ThreadPoolExecutor(_NUM_TRANSFERS, "upload") as pool:
            list(pool.map(self._upload_blob, blobs.values()))

    def _upload_blob(self, entry: FileEntry) -> None:
        key = f"blobs/{entry.sha256}"
        stored = self._remote.stat(key)
        if stored is None or stored.num_bytes != entry.num_bytes:
            self._remote.put_file(key, self._cache.file_path(entry), entry.num_bytes)
        elif datetime.now(UTC) - stored.modified > _REFRESH_AFTER:
            self._remote.touch(key)

    def _in_cache(self, digest: str) -> Path | None:
        if self._cache.exists(digest):
            with suppress(DataCorrupted):  # to be mended by a download
                return self._cache.fetch(digest)
        return None

    def _download_all(self, digest: str) -> Path:
        manifest = self.manifest(digest)
        with ThreadPoolExecutor(_NUM_TRANSFERS, "download") as pool:
            list(pool.map(lambda entry: self._download(digest, entry), manifest.files))
        self._cache.add_manifest(manifest, {})
        return self._cache.fetch(digest)

    def _download(self, digest: str, entry: FileEntry) -> None:
        if self._cache.has_file(entry):
            return
        key = f"blobs/{entry.sha256}"
        try:
            found, num_bytes = self._cache.add_file(self._remote.chunks(key, entry.num_bytes))
            self._cache.grew(num_bytes)
        except NotFound:
            found, num_bytes = "", 0
        if (found, num_bytes) != (entry.sha256, entry.num_bytes):
            problem = "does not match its sha256" if found else "is missing from the store"
            raise DataCorrupted(
                f"{entry.path} of artifact {digest} {problem} ({self._remote.url}{key})",
                fix="remove that object and publish the same files again, or restore it from a copy",
                metadata={"digest": digest, "path": entry.path},
            )

    def _remove_if_old(self, stored: Stored, newest: datetime) -> bool:
        now = self._remote.stat(stored.key)  # somebody may just have made it young again
        if now is None or now.modified > newest:
            return False
        self._remote.remove([stored.key])
        return True


def _name(stored: Stored) -> str:
    return stored.key.rpartition("/")[2]
