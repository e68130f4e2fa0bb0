"""Curves and intervals as SVG in the colours of the page; what they show is also said in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vermeil_demo.markup import escaped, figure

Point = tuple[float, float]

_LARGE, _SMALL = (720, 260), (300, 130)
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 10, 10, 28
_TICKS, _FEW_TICKS = 5, 3
_WIDE = 8.0
"""Losses that differ by more are drawn by factors, or the beginning would leave no room for the rest."""
_ROUND = (1, 2, 2.5, 5, 10)
"""Steps between ticks, times a power of ten."""
_MOST_POINTS = 600
"""Of a curve: more cannot be told apart on the picture."""


@dataclass(frozen=True)
class Curve:
    """Points in the order of x."""

    name: str
    """Such as training loss; its first word is its class in the style sheet."""
    points: Sequence[Point]

    def told(self) -> str:
        """From where to where it goes."""
        (first_x, first_y), (last_x, last_y) = self.points[0], self.points[-1]
        end = f"{figure(last_y)} at step {figure(last_x)}"
        return f"{self.name} {figure(first_y)} at step {figure(first_x)}, {end}"

    @property
    def kind(self) -> str:
        """Its class in the style sheet."""
        return escaped(self.name.partition(" ")[0])


def chart(curves: Sequence[Curve], last_x: float = 0.0) -> str:
    """Curves over steps, from 0 to `last_x` or as far as they go."""
    drawn = [curve for curve in curves if curve.points]
    if not drawn:
        return ""
    keys = "".join(
        f'<span class="{curve.kind}">{escaped(curve.name)} <b>{figure(curve.points[-1][1])}</b></span>'
        for curve in drawn
    )
    return f'<p class="vermeil-keys">{keys}</p>{_drawn(drawn, last_x, _LARGE)}'


def small_charts(curves: Sequence[Curve], last_x: float = 0.0) -> str:
    """A small picture for each, to be compared by shape; each has its own height."""
    drawn = "".join(
        f"<figure>{_drawn([curve], last_x, _SMALL)}<figcaption>{escaped(_short(curve.name))} "
        f"<b>{figure(curve.points[-1][1])}</b></figcaption></figure>"
        for curve in curves
        if curve.points
    )
    return f'<div class="vermeil-charts">{drawn}</div>' if drawn else ""


def _short(name: str) -> str:
    """validation loss of captioning → captioning"""
    return name.rpartition(" of ")[2]


def _drawn(curves: Sequence[Curve], last_x: float, size: tuple[int, int]) -> str:
    frame = _Frame.around(curves, last_x, size)
    lines = "".join(_line(curve, frame) for curve in curves)
    told = "; ".join(curve.told() for curve in curves)
    width, height = size
    return (
        f'<svg class="vermeil-chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escaped(told)}">'
        f"{frame.rules()}{lines}</svg>"
    )


@dataclass(frozen=True)
class _Frame:
    """Steps and losses ↔ places on the picture."""

    size: tuple[int, int]
    right: float
    low: float
    high: float
    by_factors: bool
    """Whether equal distances are equal factors; low and high are logarithms then."""

    @classmethod
    def around(cls, curves: Sequence[Curve], last_x: float, size: tuple[int, int]) -> "_Frame":
        right = max([last_x, 1.0, *(x for curve in curves for x, _ in curve.points)])
        values = [y for curve in curves for _, y in curve.points]
        by_factors = min(values) > 0 and max(values) > _WIDE * min(values)
        if by_factors:
            values = [math.log10(value) for value in values]
        margin = (max(values) - min(values)) * 0.06 or abs(values[0]) * 0.1 or 0.5
        return cls(size, right, min(values) - margin, max(values) + margin, by_factors)

    def at(self, point: Point) -> Point:
        x, y = point
        if self.by_factors:
            y = math.log10(y)
        width, height = self.size
        across = (width - _LEFT - _RIGHT) * x / self.right
        up = (height - _TOP - _BOTTOM) * (y - self.low) / (self.high - self.low)
        return _LEFT + across, height - _BOTTOM - up

    def heights(self, about: int) -> list[float]:
        """Where horizontal rules stand."""
        if not self.by_factors:
            return round_ticks(self.low, self.high, about)
        powers = range(math.floor(self.low), math.ceil(self.high))
        round_ones = [
            digit * 10.0**power
            for power in powers
            for digit in (1, 2, 5)
            if self.low <= math.log10(digit) + power <= self.high
        ]
        return round_ones[:: -(-len(round_ones) // (about + 1)) or 1]

    def rules(self) -> str:
        width, height = self.size
        about = _TICKS if self.size == _LARGE else _FEW_TICKS
        drawn = []
        for value in self.heights(about):
            _, y = self.at((0, value))
            drawn.append(
                f'<line class="rule" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
            )
        steps = round_ticks(0, self.right, about)
        for step in steps:
            x, _ = self.at((step, 1.0))
            anchor = "end" if x > width - 3 * _RIGHT else "middle"
            words = f"step {figure(step)}" if step == steps[-1] else figure(step)
            drawn.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="{anchor}">{words}</text>')
        return "".join(drawn)


def round_ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from low to high, about so many."""
    wanted = (high - low) / about
    power = 10.0 ** math.floor(math.log10(wanted))
    every = next(step * power for step in _ROUND if step * power >= wanted * 0.99)
    first, last = math.ceil(low / every - 1e-9), math.floor(high / every + 1e-9)
    return [round(number * every, 12) for number in range(first, last + 1)]


def _line(curve: Curve, frame: _Frame) -> str:
    places = [frame.at(point) for point in thinned(curve.points)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[-1]
    kind = curve.kind
    return (
        f'<polyline class="line {kind}" points="{path}"/>'
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
    )


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """As many of them, evenly, as can be told apart; the last always."""
    every = -(-len(points) // _MOST_POINTS)
    return points if every <= 1 else [*points[:-1:every], points[-1]]


def interval(low: float, value: float, high: float) -> str:
    """A number on the line of its interval; the line begins at low and ends at high."""
    place = 50.0 if high <= low else 8 + 104 * (value - low) / (high - low)
    told = f"{figure(value)}, interval {figure(low)} to {figure(high)}"
    return (
        f'<svg class="vermeil-chart" viewBox="0 0 120 14" style="width:120px" role="img" '
        f'aria-label="{escaped(told)}">'
        '<line class="interval" x1="8" x2="112" y1="7" y2="7" stroke-width="2"/>'
        f'<circle cx="{place:.1f}" cy="7" r="4"/></svg>'
    )
