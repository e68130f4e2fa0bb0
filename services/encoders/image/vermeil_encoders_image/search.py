"""The samples of a dataset that are nearest to a vector, with what is said of them; plain."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from vermeil_data import Sample, open_dataset, open_embeddings
from vermeil_data.embeddings import Neighbour
from vermeil_data.pictures import CLASS
from vermeil_errors import InvalidInput
from vermeil_media import decode_image, encode_png, resize_image

DEFAULT_HITS, MAX_HITS = 10, 100
PREVIEW_EDGE = 128
"""Longest edge of a preview, in pixels."""


class Found(NamedTuple):
    """A sample that was found."""

    neighbour: Neighbour
    class_name: str
    captions: tuple[str, ...]
    preview: bytes
    """PNG; empty unless asked for."""


def check_hits(num_hits: int) -> int:
    """How many to find, checked; 0 means the default."""
    if not 0 <= num_hits <= MAX_HITS:
        raise InvalidInput.for_field("num_hits", num_hits, "is out of range", f"send 1 to {MAX_HITS}")
    return num_hits or DEFAULT_HITS


def search(
    embeddings: Path, raw: Path, query_E: npt.NDArray[np.float32], num_hits: int, *, previews: bool = False
) -> list[Found]:
    """The nearest samples, nearest first; the embeddings are of the raw dataset."""
    dataset = open_dataset(raw)
    return [
        _found(near, dataset.split(near.split)[near.place], previews=previews)
        for near in open_embeddings(embeddings).nearest(query_E, num_hits)
    ]


def _found(near: Neighbour, sample: Sample, *, previews: bool) -> Found:
    captions = tuple(
        segment.text for segment in sample.segments if segment.modality == "text" and segment.text is not None
    )
    picture = next((each.data for each in sample.segments if each.modality == "image" and each.data), b"")
    preview = _preview(picture) if previews and picture else b""
    return Found(near, sample.metadata.get(CLASS, ""), captions, preview)


def _preview(raw: bytes) -> bytes:
    pixels_HWC = decode_image(raw, channels=3)
    height, width = pixels_HWC.shape[:2]
    shrunk = min(1.0, PREVIEW_EDGE / max(height, width))
    size = (max(1, round(height * shrunk)), max(1, round(width * shrunk)))
    return encode_png(resize_image(pixels_HWC, *size, "stretch"))
