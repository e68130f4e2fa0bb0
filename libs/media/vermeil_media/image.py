"""Bytes to pixels, once, for all of Vermeil: PNG, JPEG, WebP, GIF (first frame), told by their bytes alone.

Limits are checked on the header, before a pixel is allocated. Rotation by EXIF is applied, of 16 bits
the upper 8 are kept, transparency is laid over white unless it is asked for; colour profiles are ignored.
Letters: H height, W width, C channels; pixels are uint8, 0 to 255. Knows no files.
Errors say in metadata["problem"] what it is: too_large, ratio, frames, mislabelled or malformed.
"""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile
from vermeil_errors import InvalidInput, TooLarge

from vermeil_media.image_header import image_type, num_gif_frames, webp_size
from vermeil_media.pixels import (
    MODES,
    Channels,
    Fit,
    Pixels,
    blur_score,
    encode_png,
    hamming,
    perceptual_hash,
    resize_image,
)
from vermeil_media.plain_png import plain_png
from vermeil_media.sniff import what_it_is

__all__ = [
    "LIMITS",
    "MEDIA_TYPES",
    "Channels",
    "Fit",
    "ImageInfo",
    "ImageLimits",
    "Pixels",
    "blur_score",
    "decode_image",
    "encode_png",
    "hamming",
    "inspect_image",
    "perceptual_hash",
    "resize_image",
]


_READERS: dict[str, type[ImageFile]] = {
    "image/png": PngImageFile,
    "image/jpeg": JpegImageFile,
    "image/webp": WebPImageFile,
    "image/gif": GifImageFile,
}
MEDIA_TYPES = tuple(_READERS)
"""What can be decoded."""
_BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)
"""What Pillow is known to raise on bytes that are no whole picture."""
_FIX = "send a whole file in PNG, JPEG, WebP or GIF"


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before it is decoded."""

    max_bytes: int = 64 << 20
    """Of the file; default 64 MiB."""
    max_pixels: int = 1 << 25
    """Width times height; default 33,554,432: what cameras take, and 100 MB in memory."""
    max_ratio: float = 50.0
    """Longer side to shorter side; default 50."""
    max_frames: int = 1000
    """Of an animation, of which only the first is read; default 1,000."""

    def __post_init__(self) -> None:
        for field, least in (("max_bytes", 1), ("max_pixels", 1), ("max_ratio", 1), ("max_frames", 1)):
            if not getattr(self, field) >= least:
                raise InvalidInput.for_field(
                    f"limits.{field}", getattr(self, field), f"must be at least {least}"
                )


LIMITS = ImageLimits()
"""The defaults."""


class ImageInfo(NamedTuple):
    """What the header of a picture says."""

    width: int
    """As stored, before any rotation."""
    height: int
    media_type: str
    """By its bytes: image/png, image/jpeg, image/webp or image/gif."""
    mode: str
    """Pillow's name of the pixel format: L, RGB, RGBA, P, I;16, CMYK, …"""
    num_frames: int


def inspect_image(
    raw: bytes, *, limits: ImageLimits = LIMITS, media_type: str | None = None, name: str = "image"
) -> ImageInfo:
    """Read the header alone and refuse what must not be decoded; errors call the picture `name`.

    With `media_type` also a picture of another kind than that is refused.
    """
    with _Open(raw, limits, media_type, name) as (_, info):
        return info


def decode_image(
    raw: bytes,
    *,
    channels: Channels = 3,
    limits: ImageLimits = LIMITS,
    media_type: str | None = None,
    name: str = "image",
) -> Pixels:
    """The pixels (H, W, C) of a whole picture, upright; C contiguous and writeable."""
    if channels not in MODES:
        raise InvalidInput.for_field("channels", channels, "is unknown", "choose 1, 3 or 4")
    if _identified(raw, limits, media_type, name) == "image/png" and (plain := plain_png(raw)):
        _check_size(plain.width, plain.height, limits, name)
        if image := plain.image():
            return _pixels(image, channels)
    opened = _Open(raw, limits, media_type, name)
    try:
        with opened as (file, _):
            file.load()
            # A picture without EXIF, nearly every small one, needs no look at its orientation.
            return _pixels(_upright(file) if "exif" in file.info else file, channels)
    except _BROKEN as error:
        raise _malformed(str(error), name) from error


def _pixels(image: Image.Image, channels: Channels) -> Pixels:
    converted = _converted(image, channels)
    # tobytes is twice as fast as the array interface on small pictures.
    pixels = np.frombuffer(bytearray(converted.tobytes()), np.uint8)
    return pixels.reshape(converted.height, converted.width, channels)


def _identified(raw: bytes, limits: ImageLimits, media_type: str | None, name: str) -> str:
    """The media type by the bytes, of a file that is one of ours and not too long."""
    found = image_type(raw)
    if found is None or (media_type is not None and media_type != found):
        raise _mislabelled(raw, media_type, name)
    if len(raw) > limits.max_bytes:
        raise _over(f"has {len(raw):,} bytes, the limit is {limits.max_bytes:,}", "too_large", name)
    return found


class _Opened(NamedTuple):
    file: ImageFile
    info: ImageInfo


class _Open:
    """A picture whose header is read and within the limits. A class: contextlib costs 2 µs a picture."""

    def __init__(self, raw: bytes, limits: ImageLimits, media_type: str | None, name: str) -> None:
        found = _identified(raw, limits, media_type, name)
        if found == "image/webp":
            # Opening would already allocate what the header asks for.
            _check_size(*(webp_size(raw) or (1, 1)), limits, name)
        try:
            self._file = _READERS[found](io.BytesIO(raw))
        except _BROKEN as error:
            raise _malformed(str(error), name) from error
        width, height = self._file.size
        _check_size(width, height, limits, name)
        num_frames = 1
        if found == "image/gif":
            num_frames = num_gif_frames(raw, limits.max_frames)
        elif found != "image/jpeg":
            num_frames = getattr(self._file, "n_frames", 1)
        if num_frames > limits.max_frames:
            raise _over(f"has more than {limits.max_frames:,} frames", "frames", name)
        self._info = ImageInfo(width, height, found, self._file.mode, num_frames)

    def __enter__(self) -> _Opened:
        return _Opened(self._file, self._info)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _check_size(width: int, height: int, limits: ImageLimits, name: str) -> None:
    if width < 1 or height < 1:
        raise _malformed(f"its size is {width} × {height}", name)
    if width * height > limits.max_pixels:
        raise _over(
            f"would have {width:,} × {height:,} = {width * height:,} pixels, "
            f"the limit is {limits.max_pixels:,}",
            "too_large",
            name,
        )
    if max(width, height) > limits.max_ratio * min(width, height):
        raise _over(f"is {width:,} × {height:,}: longer than {limits.max_ratio:g} to 1", "ratio", name)


def _upright(file: Image.Image) -> Image.Image:
    try:
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    except (*_BROKEN, Warning):
        # Damaged EXIF says nothing about the pixels, which are whole.
        return file
    method = _TRANSPOSE.get(orientation)
    return file if method is None else file.transpose(method)


_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _converted(image: Image.Image, channels: Channels) -> Image.Image:
    mode = MODES[channels]
    transparent = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    if image.mode.startswith("I"):
        image, transparent = _upper_bits(image), False
    if image.mode == mode and not (transparent and channels != 4):
        return image
    if transparent:
        image = image.convert("RGBA")
        if channels != 4:
            background = Image.new("RGBA", image.size, (255, 255, 255, 255))
            background.alpha_composite(image)
            image = background.convert("RGB")
    elif image.mode == "CMYK" or (image.mode == "P" and channels == 1):
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _upper_bits(image: Image.Image) -> Image.Image:
    """Of 16 bits a pixel the upper 8, as Pillow itself does for colour."""
    return Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))


def _over(message: str, problem: str, name: str) -> TooLarge:
    return TooLarge(
        message, field=name, fix="make it smaller, or leave it out", metadata={"problem": problem}
    )


def _malformed(reason: str, name: str) -> InvalidInput:
    return InvalidInput(
        f"is not a whole picture: {reason}", field=name, fix=_FIX, metadata={"problem": "malformed"}
    )


def _mislabelled(raw: bytes, media_type: str | None, name: str) -> InvalidInput:
    wanted = media_type or "a picture in PNG, JPEG, WebP or GIF"
    return InvalidInput(
        f"is not {wanted}: {what_it_is(raw)}", field=name, fix=_FIX, metadata={"problem": "mislabelled"}
    )
