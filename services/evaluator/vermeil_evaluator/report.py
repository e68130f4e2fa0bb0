"""What an evaluation found, and the folder it is kept in: report.json and items.jsonl."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vermeil_metrics import Interval

REPORT_FILE = "report.json"
ITEMS_FILE = "items.jsonl"

Item = Mapping[str, object]
"""What was found of one item; plain JSON values."""


@dataclass(frozen=True)
class Metric:
    """One number with its interval."""

    name: str
    """Such as "bits_per_byte"."""
    interval: Interval
    """The number, and how sure it is."""
    lower_is_better: bool
    """Which way is up."""


@dataclass(frozen=True)
class Report:
    """What was measured, on what, with which result."""

    model: str
    """The version, or the folder where there is no registry."""
    model_digest: str
    """Digest of its artifact; empty where it was never published."""
    task: str
    """The task and its version, such as "perplexity@1"."""
    task_hash: str
    """Equal for reports whose numbers may be compared: of the task's definition and its data."""
    data: str
    """The dataset and its split, such as "datasets/peps/versions/1#validation"."""
    num_items: int
    """Items that were scored."""
    metrics: tuple[Metric, ...]
    """The numbers."""


def write_report(folder: Path, report: Report, items: Sequence[Item], details: Mapping[str, object]) -> None:
    """Write both files; `details` say how the numbers came about, and stand in report.json."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        **asdict(report),
        "metrics": [
            {"name": metric.name, **asdict(metric.interval), "lower_is_better": metric.lower_is_better}
            for metric in report.metrics
        ],
        "details": dict(details),
    }
    (folder / REPORT_FILE).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    with (folder / ITEMS_FILE).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
