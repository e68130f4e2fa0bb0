"""Pictures of a request: their bytes, from the message itself or out of the store."""

from vermeil.content.v1.content_pb2 import Media
from vermeil_artifacts import ArtifactStore
from vermeil_errors import InvalidInput, TooLarge

MAX_ITEMS = 256
MAX_INLINE_BYTES = 1 << 20
MAX_BYTES = 32 << 20
"""Of a picture out of the store."""


def check_num_items(num_texts: int, num_images: int) -> None:
    """Refuse what is no call for a few texts and pictures."""
    if not 1 <= num_texts + num_images <= MAX_ITEMS:
        raise InvalidInput.for_field(
            "texts",
            num_texts + num_images,
            "is not a number of texts and pictures to send",
            f"send 1 to {MAX_ITEMS} together",
        )


def media_bytes(media: Media, store: ArtifactStore, field: str) -> bytes:
    """The file of a picture."""
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
