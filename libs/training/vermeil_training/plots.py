"""What a log shows as pictures: losses, in parts where they have some, and speeds by modality."""

from pathlib import Path
from typing import Any

from vermeil_training.run_log import read_metrics

Lines = list[dict[str, Any]]
TRAINING, VALIDATION = "loss", "validation_loss"
SPEED, USED = "_per_second", "mfu_"
_STYLES: dict[str, dict[str, Any]] = {
    TRAINING: {"alpha": 0.45, "linewidth": 1},
    VALIDATION: {"marker": "o", "markersize": 3},
}
_WORDS = {TRAINING: "training", VALIDATION: "validation"}


def draw_run(folder: Path, path: Path, label: str) -> None:
    """A run's log as a PNG: the loss, a panel for each kind of its parts ("task/kind"), speeds, MFU."""
    lines = read_metrics(folder)
    names = [key.removeprefix(f"{VALIDATION}_") for key in _keys(lines) if key.startswith(f"{VALIDATION}_")]
    kinds = list(dict.fromkeys(name.rsplit("/", 1)[-1] for name in names))
    shares = [key for key in _keys(lines) if key.startswith(USED)]
    speeds = [key for key in _keys(lines) if key.endswith(SPEED)] if shares else []
    panels = [label, *(f"loss, {kind}" for kind in kinds), *speeds, *(["MFU"] if shares else [])]
    figure, all_axes = _figure(panels)
    _draw_loss(all_axes[0], lines, folder.name, "C0")
    rest = iter(all_axes[1:])
    for kind in kinds:
        _draw_parts(next(rest), lines, [name for name in names if name.rsplit("/", 1)[-1] == kind])
    for key in speeds:
        next(rest).plot(*_points(lines, key))
    if shares:
        axes = next(rest)
        for key in shares:
            axes.plot(*_points(lines, key), label=key.removeprefix(USED))
    _save(figure, all_axes, path)


def _draw_loss(axes: Any, lines: Lines, name: str, color: str) -> None:
    for key, style in _STYLES.items():
        steps, values = _points(lines, key)
        if steps:
            axes.plot(steps, values, color=color, label=f"{name} {_WORDS[key]}", **style)


def _draw_parts(axes: Any, lines: Lines, names: list[str]) -> None:
    """Each part in a colour, as learned and as validated."""
    for number, name in enumerate(names):
        for key, style in _STYLES.items():
            steps, values = _points(lines, f"{key}_{name}")
            shown = {"label": name} if key == VALIDATION else {}
            axes.plot(steps, values, color=f"C{number}", **shown, **style)


def _points(lines: Lines, key: str) -> tuple[list[int], list[float]]:
    found = [(line["step"], line[key]) for line in lines if key in line]
    return [step for step, _ in found], [value for _, value in found]


def _keys(lines: Lines) -> list[str]:
    """All there are, in the order they came."""
    return list(dict.fromkeys(key for line in lines for key in line))


def _figure(labels: list[str]) -> tuple[Any, list[Any]]:
    # A second and a half of imports that only those who look at pictures pay for.
    from matplotlib.figure import Figure  # noqa: PLC0415

    rows, columns = -(-len(labels) // 2), min(2, len(labels))
    figure = Figure(figsize=(8 if columns == 1 else 12, 5 if rows == 1 else 3.6 * rows), layout="constrained")
    all_axes = [
        figure.add_subplot(rows, columns, number, xlabel="step", ylabel=label)
        for number, label in enumerate(labels, 1)
    ]
    return figure, all_axes


def _save(figure: Any, all_axes: list[Any], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415

    for axes in all_axes:
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    # The canvas of the figure itself: pyplot would keep global state and is not safe in threads.
    FigureCanvasAgg(figure).print_png(path)  # type: ignore[no-untyped-call]
