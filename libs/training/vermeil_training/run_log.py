"""What a run leaves for people: metrics.jsonl, tensorboard/ and, at the end, loss.png (plots.py).

One JSON object a line, by step. A resumed run cuts off the lines its new part writes again, so the
log reads as if nothing had happened. Plots are drawn when asked: drawing is never on the hot path.
"""

import json
import os
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
        aside = self._path.with_name(f".{METRICS}.partial")
        with aside.open("w", encoding="utf-8") as file:
            file.writelines(map(_line, kept))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._path)  # whatever happens, the log is there
        self._file = self._path.open("a", encoding="utf-8")
        self._events = EventFile(folder / EVENTS, step + 1)

    def write(self, step: int, values: Values) -> None:
        """One line."""
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


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"
