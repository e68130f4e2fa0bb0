"""The interface of every artifact store.

An artifact is there whole or not at all, never changes, and is named by its content: publishing the
same files twice, from anywhere, at the same time, gives the same digest and is harmless.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Protocol

from vermeil_artifacts.manifest import ArtifactRef, Manifest


@dataclass(frozen=True)
class Collected:
    """What a collection removed."""

    num_manifests: int
    """Artifacts that nothing names any more."""
    num_blobs: int
    """Files that no artifact needs, and remains of interrupted publications."""
    num_bytes: int
    """Sum of the sizes of those files."""


class ArtifactStore(Protocol):
    """Keeps immutable trees of files."""

    def publish(
        self,
        folder: Path,
        *,
        kind: str,
        metadata: Mapping[str, str] = {},
        provenance: Mapping[str, str] = {},
    ) -> ArtifactRef:
        """Store all files below `folder`; durable and visible to others when this returns.

        `metadata` is part of the digest. `provenance` (job, request_id, traceparent) is kept beside
        the manifest with the time it was created; the first publisher's stays.
        """
        ...

    def manifest(self, digest: str) -> Manifest:
        """The list of files; NotFound if there is no such artifact."""
        ...

    def fetch(self, artifact: str | ArtifactRef) -> Path:
        """A read-only local folder with the files, which can be memory-mapped.

        Every file's sha256 is checked the first time this process fetches it, and again once its
        size or modification time changes; a wrong byte raises DataCorrupted.
        """
        ...

    def open(self, digest: str, path: str) -> BinaryIO:
        """One file, checked like those of `fetch`."""
        ...

    def link(self, digest: str, path: str, *, seconds: int) -> str | None:
        """An address at which anybody may read one file for so long, a week at most; unchecked.

        None where the store has none to give: only S3 does, with VERMEIL_S3_PUBLIC_ENDPOINT.
        """
        ...

    def exists(self, digest: str) -> bool:
        """Whether the artifact is published."""
        ...

    def list(self) -> Iterator[str]:
        """Digests of all published artifacts, in no particular order."""
        ...

    def provenance(self, digest: str) -> dict[str, str]:
        """Where the artifact came from, with "created" (UTC, ISO 8601)."""
        ...

    def collect(self, live: Collection[str], *, older_than: timedelta) -> Collected:
        """Remove what is neither named in `live` nor younger than `older_than`.

        Files a remaining artifact needs stay. `older_than` must exceed the time between publishing
        an artifact and naming it in the registry.
        """
        ...


def digest_of(artifact: str | ArtifactRef) -> str:
    """The digest of a reference, or the digest itself."""
    return artifact if isinstance(artifact, str) else artifact.digest


def provenance_document(provenance: Mapping[str, str]) -> bytes:
    """What is kept beside a manifest: the publisher's facts and the time."""
    facts = {"created": datetime.now(UTC).isoformat(timespec="seconds"), **provenance}
    return json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()
