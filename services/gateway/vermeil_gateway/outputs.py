"""Files of what jobs made: listed and read from the artifact store by job, role and path.

Only what a job names can be read, and a path only as the manifest spells it. Files are data to whoever
fetches them: none is ever a page of the gateway's own.
"""

from collections.abc import AsyncIterator, Callable
from functools import cached_property
from typing import BinaryIO

from anyio import to_thread
from vermeil.job.v1.job_pb2 import Job
from vermeil_artifacts import ArtifactStore, Manifest
from vermeil_errors import NotFound

_CHUNK = 1 << 20


class Outputs:
    """Reads what jobs made.

    Args:
        open_store: Opens the artifact store, when first needed.
    """

    def __init__(self, open_store: Callable[[], ArtifactStore]) -> None:
        self._open_store = open_store

    @cached_property
    def _store(self) -> ArtifactStore:
        return self._open_store()

    async def listing(self, job: Job, role: str) -> Manifest:
        """The files of an output."""
        digest = _digest(job, role)
        return await to_thread.run_sync(lambda: self._store.manifest(digest))

    async def file(self, job: Job, role: str, path: str) -> tuple[int, AsyncIterator[bytes]]:
        """How many bytes a file has, and the bytes."""
        manifest = await self.listing(job, role)
        found = next((entry for entry in manifest.files if entry.path == path), None)
        if found is None:
            raise NotFound(f"no such file in the output {role!r} of {job.name}", field="path", value=path)
        opened = await to_thread.run_sync(lambda: self._store.open(_digest(job, role), path))
        return found.num_bytes, _chunks(opened)


def _digest(job: Job, role: str) -> str:
    if role not in job.outputs:
        there = ", ".join(sorted(job.outputs)) or "none yet"
        raise NotFound(f"no such output of {job.name}", field="role", value=role, fix=f"there is: {there}")
    return job.outputs[role].digest


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while chunk := await to_thread.run_sync(file.read, _CHUNK):
            yield chunk
