"""What is done with pixels once they are there: another size, a file, sharpness, a perceptual hash.

Letters: H height, W width, C channels; pixels are uint8, 0 to 255.
"""

import io
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from vermeil_errors import InvalidInput

Pixels = npt.NDArray[np.uint8]
Channels = Literal[1, 3, 4]
"""Grey, red-green-blue, or these with alpha."""
Fit = Literal["crop", "pad", "stretch"]
"""How a picture of another shape is made to fit: cut off what is too much, add background, or distort."""

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's names by the number of channels."""
_SIDE, _KEPT = 32, 8
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def resize_image(pixels_HWC: Pixels, height: int, width: int, fit: Fit = "crop") -> Pixels:
    """Another size, antialiased (bicubic). `pad` fills with the median colour of the border."""
    if height < 1 or width < 1:
        raise InvalidInput.for_field("size", (height, width), "must be at least 1 × 1")
    if fit not in ("crop", "pad", "stretch"):
        raise InvalidInput.for_field("fit", fit, "is unknown", "choose crop, pad or stretch")
    if pixels_HWC.shape[:2] == (height, width):
        return pixels_HWC
    image, method = _to_image(pixels_HWC), Image.Resampling.BICUBIC
    if fit == "crop":
        resized = ImageOps.fit(image, (width, height), method)
    elif fit == "pad":
        resized = ImageOps.pad(image, (width, height), method, color=_border(pixels_HWC))
    else:
        resized = image.resize((width, height), method)
    return np.array(resized).reshape(height, width, pixels_HWC.shape[2])


def encode_png(pixels_HWC: Pixels) -> bytes:
    """A PNG file of grey, RGB or RGBA pixels; the same pixels give the same bytes."""
    file = io.BytesIO()
    _to_image(pixels_HWC).save(file, "PNG")
    return file.getvalue()


def grey(pixels_HWC: Pixels) -> npt.NDArray[np.float32]:
    """Brightness (H, W), 0 to 255; alpha is not looked at."""
    if pixels_HWC.shape[2] == 1:
        return pixels_HWC[:, :, 0].astype(np.float32)
    return np.asarray(pixels_HWC[:, :, :3].astype(np.float32) @ _LUMA, np.float32)


def blur_score(pixels: Pixels) -> float:
    """Variance of the Laplacian of the brightness: near 0 if blurred or empty, hundreds if sharp."""
    values = grey(pixels)
    if min(values.shape) < 3:
        return 0.0
    around = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    return float((around - 4 * values[1:-1, 1:-1]).var())


def perceptual_hash(pixels: Pixels) -> int:
    """64 bits that stay nearly the same when a picture is scaled, recompressed or made brighter.

    The signs of its 8 × 8 lowest frequencies against their median (pHash); colour does not count.
    """
    small = resize_image(np.rint(grey(pixels)).astype(np.uint8)[:, :, None], _SIDE, _SIDE, "stretch")
    cosines = _cosines()
    frequencies = (cosines @ small[:, :, 0].astype(np.float64) @ cosines.T).ravel()
    # The mean brightness says nothing about what is seen.
    frequencies[0] = 0.0
    # Rounded, so that an even surface has no signs of noise in the last bit.
    bits = np.round(frequencies, 3) > np.round(np.median(frequencies), 3)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming(one: int, two: int) -> int:
    """Bits in which two hashes differ, 0 to 64."""
    return (one ^ two).bit_count()


@lru_cache(maxsize=1)
def _cosines() -> npt.NDArray[np.float64]:
    """The first rows of a DCT-II."""
    rows, columns = np.arange(_KEPT)[:, None], np.arange(_SIDE)[None, :]
    return np.asarray(np.cos(np.pi * rows * (2 * columns + 1) / (2 * _SIDE)), np.float64)


def _to_image(pixels_HWC: Pixels) -> Image.Image:
    if pixels_HWC.ndim != 3 or pixels_HWC.shape[2] not in MODES or pixels_HWC.dtype != np.uint8:
        shape = f"{pixels_HWC.dtype} {pixels_HWC.shape}"
        raise InvalidInput.for_field("pixels", shape, "must be uint8 (height, width, 1, 3 or 4)")
    if 0 in pixels_HWC.shape:
        raise InvalidInput.for_field("pixels", pixels_HWC.shape, "must be at least 1 × 1")
    height, width, channels = pixels_HWC.shape
    return Image.frombytes(MODES[channels], (width, height), np.ascontiguousarray(pixels_HWC).tobytes())


def _border(pixels_HWC: Pixels) -> int | tuple[int, ...]:
    edges = (pixels_HWC[0], pixels_HWC[-1], pixels_HWC[:, 0], pixels_HWC[:, -1])
    colour = np.median(np.concatenate(edges), axis=0).astype(int).tolist()
    return int(colour[0]) if len(colour) == 1 else tuple(colour)
