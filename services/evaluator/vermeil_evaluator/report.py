"""What an evaluation found, and the folder it is kept in.

report.json holds the numbers and all they must share to be comparable, items.jsonl every item,
arrays.safetensors what sets of features are compared by, media/ pictures, index.html a page of it all.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from vermeil_errors import DataCorrupted, NotFound
from vermeil_metrics import Interval

from vermeil_evaluator.task import Curve, Row

REPORT_FILE = "report.json"
ITEMS_FILE = "items.jsonl"
ARRAYS_FILE = "arrays.safetensors"
MEDIA_FOLDER = "media"
MAX_PICTURES = 512
"""So many of the first pictures are kept."""

Item = Mapping[str, Any]
"""What was found of one item; plain JSON values."""


MEANS = ("mean", "share")
"""Statistics that are means of a field of the items."""


@dataclass(frozen=True)
class Metric:
    """One number with its interval."""

    name: str
    """Such as "bits_per_byte"."""
    interval: Interval
    """The number, and how sure it is."""
    lower_is_better: bool
    """Which way is up."""
    statistic: str = ""
    """How it is made, such as "mean"."""
    fields: tuple[str, ...] = ()
    """Of which fields of the items, or of which arrays."""


@dataclass(frozen=True)
class Report:
    """What was measured, on what, with which result."""

    model: str
    """The version, or the folder where there is no registry."""
    model_digest: str
    """Digest of its files."""
    task: str
    """The task and its version, such as "perplexity@1"."""
    task_hash: str
    """Equal for reports whose numbers may be compared: sha256 of `definition`."""
    data: str
    """The dataset and its split, such as "datasets/peps/versions/1#validation"."""
    num_items: int
    """Items that were scored."""
    metrics: tuple[Metric, ...]
    """The numbers."""
    definition: Mapping[str, object] = field(default_factory=dict)
    """Task, version, hash of the data, limit, options, judge: all that numbers must share."""
    judge: str = ""
    """The model that looked at the answers, and how good it is; empty for none."""
    seed: int = 0
    """Of sampling and of the intervals."""


@dataclass(frozen=True)
class Findings:
    """A report with everything that stands behind it."""

    report: Report
    items: Sequence[Item]
    """Every item."""
    arrays: Mapping[str, NDArray[np.float32]]
    """By name."""
    curves: Sequence[Curve]
    """For the page."""
    details: Mapping[str, object]
    """How the numbers came about, for people."""
    folder: Path
    """Where it is kept."""


def write_report(
    folder: Path,
    report: Report,
    rows: Sequence[Row],
    details: Mapping[str, object],
    curves: Sequence[Curve] = (),
    arrays: Mapping[str, NDArray[np.float32]] | None = None,
) -> Findings:
    """Write everything but the page; `details` say how the numbers came about, and stand in report.json."""
    folder.mkdir(parents=True, exist_ok=True)
    items = [_kept(row, number, folder) for number, row in enumerate(rows)]
    document = {
        **asdict(report),
        "metrics": [
            {
                "name": metric.name,
                **asdict(metric.interval),
                "lower_is_better": metric.lower_is_better,
                "statistic": metric.statistic,
                "fields": list(metric.fields),
            }
            for metric in report.metrics
        ],
        "details": dict(details),
        "curves": [asdict(curve) for curve in curves],
    }
    (folder / REPORT_FILE).write_text(
        json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    with (folder / ITEMS_FILE).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
    kept = {name: np.ascontiguousarray(array, np.float32) for name, array in (arrays or {}).items()}
    if kept:
        save_file(kept, folder / ARRAYS_FILE)
    return Findings(report, items, kept, curves, details, folder)


def read_report(folder: Path) -> Findings:
    """Everything `write_report` wrote."""
    path = folder / REPORT_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        details, curves = values.pop("details"), [Curve(**curve) for curve in values.pop("curves", ())]
        metrics = tuple(_metric(metric) for metric in values.pop("metrics"))
        report = Report(**values, metrics=metrics)
        # Not splitlines: it would cut at what models may well write, such as U+2028.
        with (folder / ITEMS_FILE).open(encoding="utf-8", newline="\n") as file:
            items = [json.loads(line) for line in file]
        arrays = load_file(folder / ARRAYS_FILE) if (folder / ARRAYS_FILE).is_file() else {}
    except FileNotFoundError as error:
        raise NotFound("no report here", field=str(folder), fix="name the folder of a report") from error
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DataCorrupted(f"is not a report: {error}", field=str(path)) from error
    return Findings(report, items, arrays, curves, details, folder)


def _metric(values: Mapping[str, Any]) -> Metric:
    interval = Interval(*(values[name] for name in ("value", "low", "high", "level")))
    fields = tuple(values.get("fields", ()))
    return Metric(values["name"], interval, values["lower_is_better"], values.get("statistic", ""), fields)


def _kept(row: Row, number: int, folder: Path) -> Item:
    """The row without what is not kept, its picture as a file."""
    item = {name: value for name, value in row.items() if not name.startswith("_")}
    for name in ("picture", "picture_beside"):
        picture = item.pop(name, None)
        # One that stands beside is there because somebody should look at both.
        if isinstance(picture, bytes) and (number < MAX_PICTURES or "picture_beside" in row):
            (folder / MEDIA_FOLDER).mkdir(exist_ok=True)
            path = f"{MEDIA_FOLDER}/{number:06}{name.removeprefix('picture').replace('_', '-')}.png"
            (folder / path).write_bytes(picture)
            item[name] = path
    return item
