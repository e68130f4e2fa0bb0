"""Reads a picture back: which shapes, of which colours and sizes, where. Made for generated pictures too.

What differs from the ground is cut into connected patches; a patch is the kind and size whose own picture,
drawn at the patch's place, is most like it. What is like none is no shape.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from vermeil_errors import InvalidInput
from vermeil_media import Pixels

from vermeil_data.shapes.render import GROUND, MIN_SIDE, Coverage, shape_coverage
from vermeil_data.shapes.scene import CELLS, COLOURS, KINDS, SIZES, Scene, Shape

_CONTRAST = 70
"""A pixel this far from the ground, in its strongest channel, belongs to something."""
_MIN_AREA = 0.08
"""Smallest patch looked at, in cells squared; the smallest shape has 0.13."""
_MAX_DIFFERENCE = 0.35
"""Of the area: above that a patch is like no shape."""


class _Patch(NamedTuple):
    shape: Shape
    area: float


def judge(pixels_HWC: Pixels) -> Scene:
    """The scene that is seen; of two shapes in one cell the larger."""
    height, width, channels = pixels_HWC.shape
    if height != width or height < MIN_SIDE or channels != 3:
        raise InvalidInput.for_field(
            "pixels", pixels_HWC.shape, f"must be a square of at least {MIN_SIDE} in 3 channels"
        )
    away_HW = np.abs(pixels_HWC.astype(np.float64) - GROUND).max(axis=2)
    cells: dict[tuple[int, int], _Patch] = {}
    for patch_HW in _patches(away_HW > _CONTRAST):
        found = _read(pixels_HWC, patch_HW, height)
        if found is not None:
            cell = (found.shape.row, found.shape.column)
            if cell not in cells or cells[cell].area < found.area:
                cells[cell] = found
    return Scene.of([patch.shape for patch in cells.values()])


def _read(pixels_HWC: Pixels, patch_HW: npt.NDArray[np.bool_], side: int) -> _Patch | None:
    pixel_area = (CELLS / side) ** 2
    if patch_HW.sum() * pixel_area < _MIN_AREA:
        return None
    # One pixel around, for edges that are too pale for the patch.
    near_HW = _grown(patch_HW)
    coverage_HW = np.zeros(patch_HW.shape)
    colour, coverage_HW[near_HW] = _colour(GROUND - pixels_HWC[near_HW].astype(np.float64))
    area = float(coverage_HW.sum()) * pixel_area
    place = (np.arange(side) + 0.5) * (CELLS / side)
    down = float(coverage_HW.sum(axis=1) @ place) * pixel_area / area
    right = float(coverage_HW.sum(axis=0) @ place) * pixel_area / area
    difference, kind, size = min(
        (_difference(coverage_HW, kind, (down, right), size) * pixel_area, kind, size)
        for kind in KINDS
        for size in SIZES
    )
    if difference > _MAX_DIFFERENCE * area:
        return None
    row, column = min(int(down), CELLS - 1), min(int(right), CELLS - 1)
    return _Patch(Shape(row, column, kind, colour, size), area)


def _difference(coverage_HW: Coverage, kind: str, centroid: tuple[float, float], size: str) -> float:
    """Pixels by which a patch differs from a shape with the same centre of mass."""
    side = len(coverage_HW)
    # A triangle's centre of mass lies below the middle of its height.
    down = centroid[0] - (_TRIANGLE_SINKS * SIZES[size] if kind == "triangle" else 0)
    drawn_HW = shape_coverage(kind, down, centroid[1], SIZES[size], side)
    return float(np.abs(drawn_HW - coverage_HW).sum())


_TRIANGLE_SINKS = 1.85 * 2 / 3 - 1


def _colour(away_PC: Coverage) -> tuple[str, Coverage]:
    """The colour of which the pixels are mixtures with the ground, and how much of it is in each."""
    found = []
    for name, colour in COLOURS.items():
        ink_C = GROUND - np.array(colour, np.float64)
        part_P = np.clip(away_PC @ ink_C / (ink_C @ ink_C), 0, 1)
        left_PC = away_PC - part_P[:, None] * ink_C
        found.append((float((left_PC**2).sum()), name, part_P))
    _, name, part_P = min(found, key=lambda each: each[:2])
    return name, part_P


def _patches(mask_HW: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
    """Connected parts, sides touching; corners that touch do not connect."""
    labels_HW = np.where(mask_HW, np.arange(1, mask_HW.size + 1).reshape(mask_HW.shape), 0)
    while True:
        padded = np.pad(labels_HW, 1)
        around = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
        largest_HW = np.where(mask_HW, np.max([labels_HW, *around], axis=0), 0)
        if np.array_equal(largest_HW, labels_HW):
            break
        labels_HW = largest_HW
    return [labels_HW == label for label in np.unique(labels_HW) if label]


def _grown(mask_HW: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    padded = np.pad(mask_HW, 1)
    return mask_HW | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
