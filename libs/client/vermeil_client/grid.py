"""Many small pictures as one that people can look at.

Letters: H height, W width; pixels are uint8, red-green-blue.
"""

from collections.abc import Sequence

import numpy as np
from vermeil_errors import InvalidInput
from vermeil_media import Pixels, decode_image, encode_png

_LEAST_SIDE = 96
"""Smaller pictures are enlarged to at least this, in pixels, without blurring them."""
_GAP = 4
_WHITE = 255


def grid_png(files: Sequence[bytes], columns: int) -> bytes:
    """Pictures of one size, row by row from the left, as one PNG file."""
    if not files or columns < 1:
        raise InvalidInput.for_field("files", len(files), "make no grid", "give at least one picture")
    pictures = [_enlarged(decode_image(file)) for file in files]
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    grid = np.full(
        (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), _WHITE, dtype=np.uint8
    )
    for place, picture in enumerate(pictures):
        if picture.shape[:2] != (height, width):
            raise InvalidInput("pictures of a grid have one size", field=f"files[{place}]")
        top, left = (_GAP + (height + _GAP) * (place // columns), _GAP + (width + _GAP) * (place % columns))
        grid[top : top + height, left : left + width] = picture
    return encode_png(grid)


def _enlarged(pixels_HWC: Pixels) -> Pixels:
    times = -(-_LEAST_SIDE // max(pixels_HWC.shape[:2]))
    return pixels_HWC.repeat(times, axis=0).repeat(times, axis=1)
