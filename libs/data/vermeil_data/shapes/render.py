"""A scene as pixels, antialiased, on white. Coordinates are in cells; H = W = the picture's side."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from vermeil_errors import InvalidInput
from vermeil_media import Pixels

from vermeil_data.shapes.scene import CELLS, COLOURS, SIZES, Scene, Shape

SIDE = 32
"""Default side of a picture in pixels."""
MIN_SIDE = 24
"""Below that a small circle is no longer told from a small square."""
GROUND = 255
_SUBPIXELS = 4
Coverage = npt.NDArray[np.float64]


def render(scene: Scene, side: int = SIDE) -> Pixels:
    """The picture (side, side, 3)."""
    if side < MIN_SIDE:
        raise InvalidInput.for_field("side", side, f"must be at least {MIN_SIDE}")
    picture = np.full((side, side, 3), float(GROUND))
    for shape in scene.shapes:
        coverage = shape_coverage(shape.kind, *centre(shape), SIZES[shape.size], side)[:, :, None]
        picture = picture * (1 - coverage) + np.array(COLOURS[shape.colour]) * coverage
    return np.asarray(np.rint(picture), np.uint8)


def centre(shape: Shape) -> tuple[float, float]:
    """Down and right, in cells."""
    return shape.row + 0.5 + shape.offset[0], shape.column + 0.5 + shape.offset[1]


def shape_coverage(kind: str, down: float, right: float, reach: float, side: int) -> Coverage:
    """How much of each pixel a shape covers, 0 to 1, with half its height in cells."""
    points = _points(side)
    y, x = (points - down)[:, None] / reach, (points - right)[None, :] / reach
    if kind == "circle":
        inside = y**2 + x**2 <= 1
    elif kind == "square":
        inside = (np.abs(y) <= 0.9) & (np.abs(x) <= 0.9)
    elif kind == "triangle":
        inside = (y <= 0.85) & (np.abs(x) <= (y + 1) / 1.85)
    else:
        arms = np.minimum(np.abs(y), np.abs(x)) <= 0.3
        inside = arms & (np.maximum(np.abs(y), np.abs(x)) <= 1)
    parts = inside.reshape(side, _SUBPIXELS, side, _SUBPIXELS)
    return np.asarray(parts.mean(axis=(1, 3)), np.float64)


@lru_cache(maxsize=16)
def _points(side: int) -> Coverage:
    """Where along an axis a pixel is looked at, in cells."""
    return np.asarray((np.arange(side * _SUBPIXELS) + 0.5) * (CELLS / (side * _SUBPIXELS)), np.float64)
