"""Curves and intervals as SVG in the colours of the page; what they show is also said in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from vermeil_demo.markup import escaped, figure

Point = tuple[float, float]

_WIDTH, _HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 30
_TICKS = 4


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


def chart(curves: Sequence[Curve], last_x: float = 0.0) -> str:
    """Curves over steps, from 0 to `last_x` or as far as they go."""
    drawn = [curve for curve in curves if curve.points]
    if not drawn:
        return ""
    frame = _Frame.around(drawn, last_x)
    lines = "".join(_line(curve, frame) for curve in drawn)
    told = "; ".join(curve.told() for curve in drawn)
    legend = "".join(
        f'<text x="{_WIDTH - _RIGHT}" y="{_TOP + 12 + 22 * place}" text-anchor="end">{escaped(curve.name)} '
        f"{figure(curve.points[-1][1])}</text>"
        for place, curve in enumerate(drawn)
    )
    return (
        f'<svg class="vermeil-chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escaped(told)}">'
        f"{frame.rules()}{lines}{legend}</svg>"
    )


@dataclass(frozen=True)
class _Frame:
    """Steps and losses ↔ places on the picture."""

    right: float
    low: float
    high: float

    @classmethod
    def around(cls, curves: Sequence[Curve], last_x: float) -> "_Frame":
        right = max([last_x, 1.0, *(x for curve in curves for x, _ in curve.points)])
        values = [y for curve in curves for _, y in curve.points]
        margin = (max(values) - min(values)) * 0.06 or 0.5
        return cls(right, min(values) - margin, max(values) + margin)

    def at(self, point: Point) -> Point:
        x, y = point
        across = (_WIDTH - _LEFT - _RIGHT) * x / self.right
        up = (_HEIGHT - _TOP - _BOTTOM) * (y - self.low) / (self.high - self.low)
        return _LEFT + across, _HEIGHT - _BOTTOM - up

    def rules(self) -> str:
        drawn = []
        for tick in range(_TICKS + 1):
            value = self.low + (self.high - self.low) * tick / _TICKS
            _, y = self.at((0, value))
            drawn.append(
                f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
            )
            step = self.right * tick / _TICKS
            x, _ = self.at((step, self.low))
            anchor = "start" if tick == 0 else "end" if tick == _TICKS else "middle"
            drawn.append(
                f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="{anchor}">{figure(round(step))}</text>'
            )
        return "".join(drawn)


def _line(curve: Curve, frame: _Frame) -> str:
    kind = escaped(curve.name.partition(" ")[0])
    places = [frame.at(point) for point in curve.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    x, y = places[-1]
    return f'<polyline class="line {kind}" points="{path}"/><circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>'


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
