"""Curves, histograms and intervals as points for inline SVG; the template draws them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from vermeil_metrics import Interval

from vermeil_evaluator.report import MEANS, Metric
from vermeil_evaluator.task import Curve

WIDTH, HEIGHT = 460, 200
"""Of the plotting area, in SVG units."""
_BAR_WIDTH = 160
_SHARE = "share"


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
    """An interval as a bar with a dot, on an axis that others of its sort share."""

    low: float
    dot: float
    high: float
    begin: str
    """What the axis begins with,"""
    end: str
    """and ends with."""


def line(curve: Curve) -> Plot:
    """A curve; its x axis is logarithmic where x grows by factors."""
    x, y = np.asarray(curve.x, float), np.asarray(curve.y, float)
    grows = len(x) > 3 and bool((x > 0).all()) and x[-1] / x[0] > 50
    places = np.log2(x) if grows else x
    across, up = _scaled(places, WIDTH), HEIGHT - _scaled(y, HEIGHT)
    points = " ".join(f"{one:.1f},{other:.1f}" for one, other in zip(across, up, strict=True))
    step = max(1, len(x) // 6)
    x_ticks = [Tick(float(across[index]), _label(x[index])) for index in range(0, len(x), step)]
    return Plot(curve.title, curve.x_label, curve.y_label, points, (), x_ticks, _y_ticks(y.min(), y.max()))


def histogram(title: str, x_label: str, values: Sequence[float]) -> Plot:
    """How often which value comes."""
    counts, edges = np.histogram(np.asarray(values, float), bins=min(30, max(5, len(values) // 8)))
    width = WIDTH / len(counts)
    most = max(1, int(counts.max()))
    bars = [(index * width, width - 1, HEIGHT * count / most) for index, count in enumerate(counts.tolist())]
    x_ticks = [
        Tick(index * width, _label(edges[index])) for index in range(0, len(edges), max(1, len(edges) // 6))
    ]
    return Plot(title, x_label, "items", "", bars, x_ticks, _y_ticks(0, most))


def intervals(metrics: Sequence[Metric]) -> Sequence[Bar]:
    """A bar for each number: shares from 0 to 1, others from 0 to the greatest of their statistic."""
    reaches: dict[str, tuple[float, float]] = {_SHARE: (0.0, 1.0)}
    for metric in metrics:
        low, high = reaches.get(_sort(metric), (0.0, 0.0))
        found = metric.interval
        reaches[_sort(metric)] = min(low, found.low), max(high, found.high)
    return [_bar(metric.interval, *reaches[_sort(metric)]) for metric in metrics]


def _sort(metric: Metric) -> str:
    """Numbers of one sort are drawn on one axis; means that stay within 0 and 1 are shares."""
    if metric.statistic not in (*MEANS, "array_mean"):
        return metric.statistic
    return _SHARE if 0 <= metric.interval.low <= metric.interval.high <= 1 else metric.name


def _bar(interval: Interval, begin: float, end: float) -> Bar:
    reach = (end - begin) or 1.0
    low, dot, high = (
        float(np.clip((value - begin) / reach, 0, 1)) * _BAR_WIDTH
        for value in (interval.low, interval.value, interval.high)
    )
    return Bar(low, dot, high, _label(begin), _label(end))


def _y_ticks(low: float, high: float) -> Sequence[Tick]:
    places = np.linspace(0, 1, 5)
    return [Tick(HEIGHT * (1 - place), _label(low + place * (high - low))) for place in places.tolist()]


def _scaled(values: "np.typing.NDArray[np.float64]", size: float) -> "np.typing.NDArray[np.float64]":
    low, high = values.min(), values.max()
    return np.asarray((values - low) / ((high - low) or 1.0) * size)


def _label(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
