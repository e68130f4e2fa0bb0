"""What a run leaves for people: metrics.jsonl, tensorboard/ and, at the end, loss.png.

One JSON object a line, by step. A resumed run cuts off the lines its new part writes again, so the
log reads as if nothing had happened. Plots are drawn when asked: drawing is never on the hot path.
"""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vermeil_training.event_file import EventFile

METRICS, PLOT, EVENTS = "metrics.jsonl", "loss.png", "tensorboard"

Values = dict[str, float]


class RunLog:
    """The log of a run, open for its next part."""

    def __init__(self, folder: Path, step: int) -> None:
        """Open it after `step` finished steps."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / METRICS
        kept = [line for line in read_metrics(folder) if line["step"] <= step]
        self._path.write_text("".join(_line(values) for values in kept))
        self._file = self._path.open("a", encoding="utf-8")
        self._events = EventFile(folder / EVENTS, step + 1)

    def write(self, step: int, values: Values) -> None:
        """One line; `loss` and `validation_loss` are what the plot shows."""
        self._file.write(_line({"step": step, **values}))
        self._file.flush()
        self._events.add(step, values)

    def close(self) -> None:
        """No more lines."""
        self._file.close()
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, oldest first; a line cut short by a crash is left out."""
    path = folder / METRICS
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def draw_losses(runs: dict[str, Path], path: Path, label: str = "loss (nats per token)") -> None:
    """The loss curves of one run or several (name → folder) as a PNG; `label` says what a loss is."""
    # A second and a half of imports that only those who look at pictures pay for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel=label)
    for number, (name, folder) in enumerate(runs.items()):
        lines = read_metrics(folder)
        for key, style, what in (
            ("loss", {"alpha": 0.45, "linewidth": 1}, "training"),
            ("validation_loss", {"marker": "o", "markersize": 3}, "validation"),
        ):
            points = [(line["step"], line[key]) for line in lines if key in line]
            if points:
                axes.plot(*zip(*points, strict=True), color=f"C{number}", label=f"{name} {what}", **style)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
    # The canvas of the figure itself: pyplot would keep global state and is not safe in threads.
    FigureCanvasAgg(figure).print_png(path)  # type: ignore[no-untyped-call]


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"
