"""Curves, histograms and intervals as points for inline SVG; the template draws them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from vermeil_metrics import Interval

from vermeil_evaluator.task import Curve

WIDTH, HEIGHT = 460, 200
"""Of the plotting area, in SVG units."""
_BAR_WIDTH = 160


@dataclass(frozen=True)
class Tick:
    """A mark on an axis."""

    place: float
    label: str


@dataclass(frozen=True)
class Plot:
    """What the template needs to draw."""

    title: str
    x_label: str
    y_label: str
    points: str
    """Of a line, "x,y x,y"; empty for bars."""
    bars: Sequence[tuple[float, float, float]]
    """Left, width and height."""
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]


@dataclass(frozen=True)
class Bar:
    """An interval as a bar with a dot."""

    low: float
    dot: float
    high: float


def line(curve: Curve) -> Plot:
    """A curve; its x axis is logarithmic where x grows by factors."""
    x, y = np.asarray(curve.x, float), np.asarray(curve.y, float)
    grows = len(x) > 3 and bool((x > 0).all()) and x[-1] / x[0] > 50
    places = np.log2(x) if grows else x
    across, up = _scaled(places, WIDTH), HEIGHT - _scaled(y, HEIGHT)
    points = " ".join(f"{one:.1f},{other:.1f}" for one, other in zip(across, up, strict=True))
    step = max(1, len(x) // 6)
    x_ticks = [Tick(float(across[index]), f"{x[index]:g}") for index in range(0, len(x), step)]
    return Plot(curve.title, curve.x_label, curve.y_label, points, (), x_ticks, _y_ticks(y.min(), y.max()))


def histogram(title: str, x_label: str, values: Sequence[float]) -> Plot:
    """How often which value comes."""
    counts, edges = np.histogram(np.asarray(values, float), bins=min(30, max(5, len(values) // 8)))
    width = WIDTH / len(counts)
    most = max(1, int(counts.max()))
    bars = [(index * width, width - 1, HEIGHT * count / most) for index, count in enumerate(counts.tolist())]
    x_ticks = [
        Tick(index * width, f"{edges[index]:.3g}") for index in range(0, len(edges), max(1, len(edges) // 6))
    ]
    return Plot(title, x_label, "items", "", bars, x_ticks, _y_ticks(0, most))


def intervals(interval: Interval) -> Bar:
    """The interval on an axis half as wide again."""
    spread = (interval.high - interval.low) or 1.0
    begin = interval.low - spread / 4
    low, dot, high = (
        float(np.clip((value - begin) / (1.5 * spread), 0, 1)) * _BAR_WIDTH
        for value in (interval.low, interval.value, interval.high)
    )
    return Bar(low, dot, high)


def _y_ticks(low: float, high: float) -> Sequence[Tick]:
    places = np.linspace(0, 1, 5)
    return [Tick(HEIGHT * (1 - place), f"{low + place * (high - low):.3g}") for place in places.tolist()]


def _scaled(values: "np.typing.NDArray[np.float64]", size: float) -> "np.typing.NDArray[np.float64]":
    low, high = values.min(), values.max()
    return np.asarray((values - low) / ((high - low) or 1.0) * size)
