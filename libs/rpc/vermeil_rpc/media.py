"""The file behind a Media message, from the message itself or out of the artifact store."""

from vermeil.content.v1.content_pb2 import Media
from vermeil_artifacts import ArtifactStore
from vermeil_errors import InvalidInput, TooLarge

MAX_INLINE_BYTES = 1 << 20
"""As the contract says."""
MAX_BYTES = 32 << 20
"""Of a file out of the store."""


def media_bytes(media: Media, store: ArtifactStore, field: str) -> bytes:
    """The file; errors call it `field`."""
    if media.WhichOneof("source") == "inline":
        return _checked(media.inline, MAX_INLINE_BYTES, field)
    if not media.HasField("artifact"):
        raise InvalidInput("holds no picture", field=field, fix="send inline bytes, or an artifact and path")
    with store.open(media.artifact.digest, media.path) as file:
        return _checked(file.read(MAX_BYTES + 1), MAX_BYTES, field)


def _checked(raw: bytes, limit: int, field: str) -> bytes:
    if len(raw) > limit:
        raise TooLarge(f"has more than {limit:,} bytes", field=field, fix="send a smaller picture")
    return raw
