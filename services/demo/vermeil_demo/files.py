"""Pictures that people bring, made small enough to be sent, and pictures that models draw, as files."""

import functools
import hashlib
import tempfile
from pathlib import Path

from vermeil_media import decode_image, encode_png, read_bytes, resize_image

_LARGEST_SIDE = 448
"""Pixels of the longer side of what is sent: 448 × 448 × 3 bytes stay under the gateway's 1 MiB a picture."""


def sendable(path: str | Path) -> bytes:
    """The picture in a file as a PNG that the gateway takes.

    Raises:
        InvalidInput: It is no PNG, JPEG, WebP or GIF.
        TooLarge: It has more than 33,554,432 pixels.
    """
    pixels_HWC = decode_image(read_bytes(Path(path)), name="the picture")
    height, width = pixels_HWC.shape[:2]
    scale = _LARGEST_SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        pixels_HWC = resize_image(pixels_HWC, *size, fit="stretch")
    return encode_png(pixels_HWC)


def kept(png: bytes) -> str:
    """A file with this picture, the same for the same picture."""
    path = Path(_folder().name) / f"{hashlib.sha256(png).hexdigest()[:32]}.png"
    if not path.exists():
        path.write_bytes(png)
    return str(path)


@functools.cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """Goes with this process."""
    return tempfile.TemporaryDirectory(prefix="vermeil-demo-")
