"""The study's tables and plots, from its lines alone."""

import json
import math
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from vermeil_metrics import paired_comparison

Line = dict[str, Any]
COLUMNS = ("cider_d", "vqa", "text_to_image", "listening", "bits_per_byte", "image_loss")
LOWER_IS_BETTER = {"bits_per_byte", "image_loss"}
PAIRED = {"cider_d": "cider", "vqa": "answered", "text_to_image": "drawn"}
"""Numbers that are means of items → the items."""
_T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t for a 95 % interval, by the number of seeds."""
_MANY_SEEDS = 1.96
REFERENCE = "alloy"


def write_report(backbones: Sequence[Line], final: Sequence[Line], folder: Path) -> None:
    """table.md, comparisons.json and the plots."""
    names = list(dict.fromkeys(line["fusion"] for line in final))
    by_fusion = {name: [line for line in final if line["fusion"] == name] for name in names}
    compared = comparisons(by_fusion)
    (folder / "table.md").write_text(_table(backbones, by_fusion, compared), encoding="utf-8")
    (folder / "comparisons.json").write_text(json.dumps(compared, indent=2) + "\n", encoding="utf-8")
    _plot(folder / "curves.png", (10, 4), 2, lambda axes: _curves(by_fusion, axes))
    _plot(folder / "pareto.png", (6, 5), 1, lambda axes: _pareto(backbones, by_fusion, axes[0]))
    alphas = [line["alpha"] for line in final if "alpha" in line]
    if alphas:
        _plot(folder / "alpha.png", (8, 4), 2, lambda axes: _alpha(np.mean(alphas, axis=0), axes))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean over seeds, and half of its 95 % interval; nothing is known of the spread of one seed."""
    if len(values) < 2:
        return mean(values), math.nan
    return mean(values), _T_95.get(len(values), _MANY_SEEDS) * stdev(values) / math.sqrt(len(values))


def comparisons(by_fusion: dict[str, list[Line]]) -> dict[str, dict[str, dict[str, float]]]:
    """Each fusion minus alloy, on the same items of the same seeds; resampled are items, seeds together."""
    if REFERENCE not in by_fusion:
        return {}
    found: dict[str, dict[str, dict[str, float]]] = {}
    ours = {line["seed"]: line["items"] for line in by_fusion[REFERENCE]}
    for name, lines in by_fusion.items():
        if name == REFERENCE:
            continue
        theirs = {line["seed"]: line["items"] for line in lines}
        found[name] = {}
        for metric, items in PAIRED.items():
            seeds = sorted(ours.keys() & theirs.keys())
            first, second = ([of[seed][items] for seed in seeds] for of in (theirs, ours))
            groups = [number for one in first for number in range(len(one))]
            test = paired_comparison(np.concatenate(first), np.concatenate(second), groups=groups)
            difference = test.difference
            found[name][metric] = {
                "difference": difference.value,
                "low": difference.low,
                "high": difference.high,
                "p": test.p_value,
            }
    return found


def _table(
    backbones: Sequence[Line],
    by_fusion: dict[str, list[Line]],
    compared: dict[str, dict[str, dict[str, float]]],
) -> str:
    head = ["fusion", "seeds", "rate", "parameters", "GFLOP a row", *COLUMNS]
    rows = [head, ["---"] * len(head)]
    kept = [_shown([line["metrics"][name] for line in backbones]) for name in COLUMNS[-2:]]
    rows.append(["backbones", str(len(backbones)), "", "", "", "", "", "", "", *kept])
    for name, lines in by_fusion.items():
        first = lines[0]
        about = [f"{first['parameters']:,}", f"{first['forward_flops_a_row'] / 1e9:.2f}"]
        numbers = [_shown([line["metrics"][column] for line in lines]) for column in COLUMNS]
        rows.append([name, str(len(lines)), f"{first['rate']:g}", *about, *numbers])
    guessed = next(iter(by_fusion.values()))[0]["guessed"]
    text = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    text += "\nMean ± half of its 95 % interval over seeds. "
    text += f"Answers guessed from the question alone: {guessed:.3f}.\n"
    if compared:
        text += f"\nMinus {REFERENCE}, item by item (95 % interval, p):\n\n"
        pairs = [["fusion", *PAIRED], ["---"] * (1 + len(PAIRED))]
        for name, metrics in compared.items():
            cells = [
                f"{of['difference']:+.3f} ({of['low']:+.3f} to {of['high']:+.3f}, p {of['p']:.3f})"
                for of in metrics.values()
            ]
            pairs.append([name, *cells])
        text += "".join(f"| {' | '.join(row)} |\n" for row in pairs)
    return text


def _shown(values: Sequence[float]) -> str:
    middle, half = interval(values)
    return f"{middle:.3f}" if math.isnan(half) else f"{middle:.3f} ± {half:.3f}"


def _plot(path: Path, size: tuple[float, float], columns: int, draw: Callable[[list[Axes]], object]) -> None:
    figure = Figure(size, layout="constrained")
    FigureCanvasAgg(figure)
    draw(list(figure.subplots(1, columns, squeeze=False)[0]))
    figure.savefig(path, dpi=120)


def _curves(by_fusion: dict[str, list[Line]], axes: list[Axes]) -> None:
    for axis, part, unit in zip(axes, ("text", "image"), ("nats a token", "flow loss"), strict=True):
        for name, lines in by_fusion.items():
            steps = [each["step"] for each in lines[0]["curve"]]
            runs = [[each[f"validation_loss_{part}"] for each in line["curve"]] for line in lines]
            axis.plot(steps, [mean(values) for values in zip(*runs, strict=True)], label=name)
        axis.set_title(f"validation, {part}")
        axis.set_xlabel("steps")
        axis.set_ylabel(unit)
    axes[0].legend()


def _pareto(backbones: Sequence[Line], by_fusion: dict[str, list[Line]], axis: Axes) -> None:
    """Text kept against what was learned, a point a seed and a large one for the mean."""
    alone = {line["seed"]: line["metrics"]["bits_per_byte"] for line in backbones}
    for name, lines in by_fusion.items():
        kept = [alone[line["seed"]] / line["metrics"]["bits_per_byte"] for line in lines]
        skill = [mean((line["metrics"]["vqa"], line["metrics"]["text_to_image"])) for line in lines]
        (points,) = axis.plot(kept, skill, ".", alpha=0.4)
        axis.plot(mean(kept), mean(skill), "o", color=points.get_color(), label=name)
    axis.set_xlabel("text kept: bits per byte of the backbone over those of the fused model")
    axis.set_ylabel("mean of answers and drawings that are right")
    axis.legend()


def _alpha(alpha_NH2: "np.ndarray[Any, Any]", axes: list[Axes]) -> None:
    """Where, and how much, text looks at pictures and pictures at text."""
    for direction, (axis, title) in enumerate(
        zip_longest(axes, ("text reads pictures", "pictures read text"))
    ):
        shown = axis.imshow(alpha_NH2[..., direction], aspect="auto", vmin=0, vmax=max(1.5, alpha_NH2.max()))
        axis.set_title(title)
        axis.set_xlabel("head")
        axis.set_ylabel("layer")
        axis.figure.colorbar(shown, ax=axis)
