"""Files of artifacts: listed, and read one by one from the artifact store.

Callers come by the name of a job, a model or a dataset, never by a digest alone, and a path is read only as
the manifest spells it. Files are data to whoever fetches them: none is ever a page of the gateway's own.
"""

from collections.abc import AsyncIterator, Callable
from functools import cached_property
from typing import BinaryIO

from anyio import to_thread
from vermeil.job.v1.job_pb2 import Job
from vermeil_artifacts import ArtifactStore, Manifest
from vermeil_errors import NotFound

LINK_SECONDS = 300
"""For how long a link may be followed; a download that has begun by then goes on."""
_CHUNK = 1 << 20


class Files:
    """Reads artifacts.

    Args:
        open_store: Opens the artifact store, when first needed.
    """

    def __init__(self, open_store: Callable[[], ArtifactStore]) -> None:
        self._open_store = open_store

    @cached_property
    def _store(self) -> ArtifactStore:
        return self._open_store()

    async def listing(self, digest: str) -> Manifest:
        """What an artifact holds."""
        return await to_thread.run_sync(lambda: self._store.manifest(digest))

    async def file(self, digest: str, path: str) -> tuple[int, AsyncIterator[bytes]]:
        """How many bytes one of its files has, and the bytes."""
        num_bytes = await self._size(digest, path)
        opened = await to_thread.run_sync(lambda: self._store.open(digest, path))
        return num_bytes, _chunks(opened)

    async def link(self, digest: str, path: str) -> str | None:
        """Where one of its files may be had without a key for minutes; None where only we can read it."""
        await self._size(digest, path)
        return await to_thread.run_sync(lambda: self._store.link(digest, path, seconds=LINK_SECONDS))

    async def _size(self, digest: str, path: str) -> int:
        manifest = await self.listing(digest)
        found = next((entry for entry in manifest.files if entry.path == path), None)
        if found is None:
            raise NotFound(f"no such file in this {manifest.kind}", field="path", value=path)
        return found.num_bytes


def output_digest(job: Job, role: str) -> str:
    """The artifact that a job made in a role."""
    if role not in job.outputs:
        there = ", ".join(sorted(job.outputs)) or "none yet"
        raise NotFound(f"no such output of {job.name}", field="role", value=role, fix=f"there is: {there}")
    return job.outputs[role].digest


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while chunk := await to_thread.run_sync(file.read, _CHUNK):
            yield chunk
