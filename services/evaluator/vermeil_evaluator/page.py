"""The page of a report: one HTML file that needs no server and loads nothing, pictures and curves inside."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vermeil_evaluator.plots import Plot, histogram, intervals, line
from vermeil_evaluator.report import MEANS, Findings, Item

PAGE_FILE = "index.html"
MAX_PICTURES = 100
MAX_FAILURES = 20
MAX_PICTURE_BYTES = 2**21
"""All pictures of a page together, so that it can be sent in one message."""
_MAX_TEXT = 600
_NOT_TOLD = {"id", "group", "picture", "picture_beside", "blocks"}


@dataclass(frozen=True)
class Shown:
    """An item as the page shows it."""

    id: str
    picture: str
    """As a data: URI; empty for none."""
    beside: str
    """The picture it should be compared with."""
    fields: Mapping[str, str]


def write_page(found: Findings) -> Path:
    """Draw the page into the report's folder."""
    path = found.folder / PAGE_FILE
    path.write_text(page(found), encoding="utf-8")
    return path


def page(found: Findings) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("vermeil_evaluator"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    budget = _Budget(MAX_PICTURE_BYTES)
    failures = [_shown(item, found.folder, budget) for item in worst(found)]
    pairs = [_shown(item, found.folder, budget) for item in found.items if item.get("picture_beside")]
    pictures = [item for item in found.items if item.get("picture")]
    names = {metric.name for metric in found.report.metrics}
    grid = [_shown(item, found.folder, budget) for item in islice(_spread(pictures), MAX_PICTURES)]
    return environment.get_template("report.html.j2").render(
        report=found.report,
        metrics=[
            (metric, bar, found.details.get(metric.name, ""))
            for metric, bar in zip(found.report.metrics, intervals(found.report.metrics), strict=True)
        ],
        details={name: _text(value) for name, value in found.details.items() if name not in names},
        definition={name: _text(value) for name, value in found.report.definition.items()},
        plots=_plots(found),
        grid=[each for each in grid if each.picture],
        num_pictures=len(pictures),
        pairs=pairs,
        failures=failures,
        worst_by=worst_by(found),
    )


def worst_by(found: Findings) -> str:
    """The number items are ordered by: the first that is a mean of a field of theirs; empty for none."""
    for metric in found.report.metrics:
        if (
            metric.statistic in MEANS
            and found.items
            and all(metric.fields[0] in item for item in found.items)
        ):
            return metric.name
    return ""


def worst(found: Findings) -> Sequence[Item]:
    """Where the model did worst; items without fault are left out."""
    name = worst_by(found)
    metric = next((each for each in found.report.metrics if each.name == name), None)
    if metric is None:
        return ()
    values = [float(item[metric.fields[0]]) for item in found.items]
    best = min(values) if metric.lower_is_better else max(values)
    order = sorted(range(len(values)), key=values.__getitem__, reverse=metric.lower_is_better)
    return [found.items[place] for place in order if values[place] != best][:MAX_FAILURES]


class _Budget:
    """Bytes of pictures that still fit on the page."""

    def __init__(self, num_bytes: int) -> None:
        self._left = num_bytes

    def embed(self, path: Path) -> str:
        data = path.read_bytes() if path.is_file() else b""
        if not data or len(data) > self._left:
            return ""
        self._left -= len(data)
        return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def _spread(items: Sequence[Item]) -> Sequence[Item]:
    """Some from everywhere, in their order."""
    step = max(1, len(items) // MAX_PICTURES)
    return items[::step]


def _shown(item: Item, folder: Path, budget: _Budget) -> Shown:
    fields = {
        name: _text(value)
        for name, value in item.items()
        if name not in _NOT_TOLD and not (isinstance(value, list) and value and not isinstance(value[0], str))
    }
    picture, beside = (
        budget.embed(folder / item[name]) if item.get(name) else "" for name in ("picture", "picture_beside")
    )
    return Shown(str(item["id"]), picture, beside, fields)


def _plots(found: Findings) -> Sequence[Plot]:
    plots = [line(curve) for curve in found.curves]
    for metric in found.report.metrics:
        field = metric.fields[0] if metric.fields else ""
        if metric.statistic in MEANS:
            values = [float(item[field]) for item in found.items if field in item]
            if len(set(values)) > 2:
                plots.append(histogram(f"{metric.name} of every item", metric.name, values))
    return plots


def _text(value: Any) -> str:
    if isinstance(value, float):
        text = f"{value:.6g}"
    elif isinstance(value, str):
        text = value
    elif isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        text = " · ".join(value)
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
