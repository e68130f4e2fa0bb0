"""Pictures as files: PNG, inline while they are small, else in the artifact store."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from vermeil.content.v1.content_pb2 import Media, Part
from vermeil_artifacts import ArtifactRef, ArtifactStore
from vermeil_media import Pixels, encode_png
from vermeil_rpc.convert import artifact_to_message
from vermeil_rpc.media import MAX_INLINE_BYTES

KIND = "image"
"""Of artifacts that hold one picture."""
FILE = "image.png"
"""The only file in it."""
PNG = "image/png"

Keep = Callable[[bytes], ArtifactRef]
"""Puts a PNG file into the store."""


def keeper(store: ArtifactStore) -> Keep:
    """A Keep for this store. Nothing names what it keeps, so a collection of the store may remove it."""

    def keep(png: bytes) -> ArtifactRef:
        with tempfile.TemporaryDirectory(prefix="vermeil-image-") as folder:
            (Path(folder) / FILE).write_bytes(png)
            return store.publish(Path(folder), kind=KIND, metadata={"media_type": PNG})

    return keep


def as_part(pixels_HWC: Pixels, keep: Keep, *, as_artifact: bool) -> Part:
    """The picture as a part of content."""
    png = encode_png(pixels_HWC)
    if not as_artifact and len(png) <= MAX_INLINE_BYTES:
        return Part(image=Media(inline=png, media_type=PNG))
    return Part(image=Media(artifact=artifact_to_message(keep(png)), path=FILE, media_type=PNG))
