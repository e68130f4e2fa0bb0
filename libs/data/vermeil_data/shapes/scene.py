"""Scenes: a few coloured shapes, each in its own cell of a 3 × 3 grid; a function of a seed and a number.

Everything that two scenes are compared by is discrete, so that a picture can be read back exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from vermeil_errors import InvalidInput

from vermeil_data.shuffle import hashed

KINDS = ("circle", "square", "triangle", "cross")
COLOURS = {
    "red": (214, 39, 40),
    "orange": (255, 140, 0),
    "yellow": (240, 215, 20),
    "green": (30, 150, 50),
    "cyan": (40, 200, 215),
    "blue": (35, 70, 210),
    "purple": (140, 50, 180),
    "black": (20, 20, 20),
}
"""sRGB of each colour; the ground is white."""
SIZES = {"small": 0.26, "large": 0.38}
"""Half the height of a shape, in cells."""
CELLS = 3
"""Rows and columns of the grid."""
JITTER = {"small": 0.14, "large": 0.04}
"""How far a shape may lie off the middle of its cell, in cells: neighbours never touch."""


@dataclass(frozen=True, order=True)
class Shape:
    """One shape."""

    row: int
    """0 top, 2 bottom."""
    column: int
    """0 left, 2 right."""
    kind: str
    colour: str
    size: str
    """small or large"""
    offset: tuple[float, float] = field(default=(0.0, 0.0), compare=False)
    """Down and right of the middle of its cell, in cells; for variety, not compared."""

    def __post_init__(self) -> None:
        for name, known in (("kind", KINDS), ("colour", COLOURS), ("size", SIZES)):
            if getattr(self, name) not in known:
                raise InvalidInput.for_field(
                    name, getattr(self, name), "is unknown", f"choose one of {', '.join(known)}"
                )
        if not (0 <= self.row < CELLS and 0 <= self.column < CELLS):
            raise InvalidInput.for_field("cell", (self.row, self.column), "must be 0 to 2 each")


@dataclass(frozen=True)
class Scene:
    """What is in a picture."""

    shapes: tuple[Shape, ...]
    """In the order of their cells, at most one in each."""

    @classmethod
    def of(cls, shapes: Sequence[Shape]) -> Self:
        """A scene of shapes in any order."""
        cells = {(shape.row, shape.column) for shape in shapes}
        if len(cells) < len(shapes):
            raise InvalidInput.for_field("shapes", len(shapes), "two of them share a cell")
        return cls(tuple(sorted(shapes)))

    def to_text(self) -> str:
        """As `large red circle 0 1; …`, without the offsets."""
        return "; ".join(
            f"{shape.size} {shape.colour} {shape.kind} {shape.row} {shape.column}" for shape in self.shapes
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The scene of `to_text`."""
        shapes = []
        for part in filter(None, text.split("; ")):
            try:
                size, colour, kind, row, column = part.split(" ")
                shapes.append(Shape(int(row), int(column), kind, colour, size))
            except ValueError as error:
                raise InvalidInput.for_field("scene", part, "is not a shape of a scene") from error
        return cls.of(shapes)


class Draws:
    """Random choices that are a function of (seed, number, how many were made before)."""

    def __init__(self, seed: int, number: int) -> None:
        self._bits = hashed(np.arange(64, dtype=np.int64), seed, number).tolist()
        self._next = 0

    def below(self, limit: int) -> int:
        """A whole number from 0 to limit - 1."""
        self._next += 1
        return int(self._bits[self._next - 1] % limit)

    def between(self, low: float, high: float) -> float:
        """A number from low to high."""
        return low + (high - low) * self.below(1 << 20) / ((1 << 20) - 1)

    def some(self, values: Sequence[str], count: int) -> list[str]:
        """So many different ones of the values."""
        left = list(values)
        return [left.pop(self.below(len(left))) for _ in range(count)]

    def one(self, values: Sequence[str]) -> str:
        """One of the values."""
        return values[self.below(len(values))]


def random_scene(seed: int, number: int) -> Scene:
    """The scene of this number: one shape, two, several that are alike, or several of all sorts."""
    draws = Draws(seed, number)
    plan = draws.one(("one", "two", "two", "alike", "mixed"))
    count = {"one": 1, "two": 2, "alike": 2 + draws.below(4), "mixed": 3 + draws.below(2)}[plan]
    kind, colour = draws.one(KINDS), draws.one(tuple(COLOURS))
    looks = [(kind, colour)]
    for _ in range(count - 1):
        looks.append((kind, colour) if plan == "alike" else (draws.one(KINDS), draws.one(tuple(COLOURS))))
    cells = draws.some([str(cell) for cell in range(CELLS * CELLS)], count)
    shapes = []
    for (of_kind, of_colour), cell in zip(looks, map(int, cells), strict=True):
        size = draws.one(tuple(SIZES))
        reach = JITTER[size]
        offset = (draws.between(-reach, reach), draws.between(-reach, reach))
        shapes.append(Shape(cell // CELLS, cell % CELLS, of_kind, of_colour, size, offset))
    return Scene.of(shapes)
