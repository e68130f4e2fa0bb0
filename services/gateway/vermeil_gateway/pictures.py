"""Pictures that were kept: read from the artifact store, one PNG file each.

The number of a picture is the digest of its artifact, so nobody can guess one. Other kinds of artifacts
are never shown. The store is opened when first needed: not every gateway draws.
"""

import asyncio
import re
from collections.abc import Callable
from functools import cached_property

from vermeil.content.v1.content_pb2 import Media
from vermeil_artifacts import ArtifactStore
from vermeil_errors import NotFound

KIND = "image"
FILE = "image.png"
_PREFIX = "sha256:"
_NUMBER = re.compile(r"[0-9a-f]{64}")


class Pictures:
    """Reads kept pictures.

    Args:
        open_store: Opens the artifact store.
    """

    def __init__(self, open_store: Callable[[], ArtifactStore]) -> None:
        self._open_store = open_store

    @cached_property
    def _store(self) -> ArtifactStore:
        return self._open_store()

    async def read(self, number: str) -> bytes:
        """The PNG file of a picture."""
        if not _NUMBER.fullmatch(number):
            raise _no_such_picture(number)
        return await asyncio.to_thread(self._read, number)

    async def file_of(self, media: Media) -> bytes:
        """The file of a picture wherever it is."""
        if media.WhichOneof("source") == "inline":
            return media.inline
        return await self.read(number_of(media))

    def _read(self, number: str) -> bytes:
        digest = _PREFIX + number
        if not self._store.exists(digest) or self._store.manifest(digest).kind != KIND:
            raise _no_such_picture(number)
        with self._store.open(digest, FILE) as file:
            return file.read()


def number_of(media: Media) -> str:
    """The number by which a kept picture is read."""
    return media.artifact.digest.removeprefix(_PREFIX)


def _no_such_picture(number: str) -> NotFound:
    return NotFound(
        "no such picture", field="image", value=number, fix="it may have been cleared away; draw it again"
    )
