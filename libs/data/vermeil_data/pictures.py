"""Pictures of a raw dataset, a record batch at a time: columns are taken apart, not samples put together.

Building a Sample for every row would cost more than decoding a small picture.
"""

# ruff: noqa: N815

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import pyarrow as pa
from vermeil_errors import InvalidInput
from vermeil_media import Channels, Pixels, decode_image

from vermeil_data.dataset import Split

CLASS, CLASS_NUMBER = "class", "class_number"
"""Metadata of a sample: the name of its class, and its place where classes have an order."""


class Picture(NamedTuple):
    """What a sample says of its first picture."""

    id: str
    data: bytes
    """The file."""
    captions: tuple[str, ...]
    """The texts before the picture."""
    metadata: dict[str, str]


class DecodedPicture(NamedTuple):
    """A picture and what is said of it."""

    pixels_HWC: Pixels
    captions: tuple[str, ...]
    class_name: str | None


def pictures(batch: pa.RecordBatch) -> Iterator[Picture]:
    """The picture of each sample; a sample without one is refused."""
    segments = batch.column("segments")
    modalities, texts, files = (
        segments.values.field(name).to_pylist() for name in ("modality", "text", "data")
    )
    bounds = segments.offsets.tolist()
    ids = batch.column("id").to_pylist()
    for row, (name, metadata) in enumerate(zip(ids, batch_metadata(batch), strict=True)):
        captions: list[str] = []
        for at in range(bounds[row], bounds[row + 1]):
            if modalities[at] == "image":
                yield Picture(name, files[at] or b"", tuple(captions), metadata)
                break
            if texts[at] is not None:
                captions.append(texts[at])
        else:
            raise InvalidInput("has no picture", field=name or "sample", fix="choose a dataset of images")


def batch_metadata(batch: pa.RecordBatch) -> Iterator[dict[str, str]]:
    """The metadata of each sample."""
    column = batch.column("metadata")
    keys, values, bounds = column.keys.to_pylist(), column.items.to_pylist(), column.offsets.tolist()
    for begin, end in pairwise(bounds):
        yield dict(zip(keys[begin:end], values[begin:end], strict=True))


def decoded_pictures(split: Split, channels: Channels = 3) -> Iterator[DecodedPicture]:
    """Every picture of a split, decoded, in the order of the shards."""
    for batch in split.batches():
        for picture in pictures(batch):
            pixels_HWC = decode_image(picture.data, channels=channels, name=picture.id)
            yield DecodedPicture(pixels_HWC, picture.captions, picture.metadata.get(CLASS))
