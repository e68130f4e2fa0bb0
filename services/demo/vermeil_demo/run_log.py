"""The log of a training as the gateway keeps it: every point of its curves, its newest pictures, its gates.

A job shows its output `log` after each validation and at its end. What has been read is kept by job until
the job shows another. Trainings of older versions show nothing before their end; some show nothing at all.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vermeil_client import Vermeil
from vermeil_client.resources import Job
from vermeil_errors import NotFound

from vermeil_demo.charts import Point

LOG = "log"
_METRICS, _NEWEST, _SAMPLES, _GATES = "metrics.jsonl", "samples.png", "samples/", "fusion.json"
_MOST_KEPT = 16
Read = TypeVar("Read")


@dataclass(frozen=True)
class RunLog:
    """What a training has shown so far."""

    training: Sequence[Point] = ()
    """Loss by step."""
    validation: Sequence[Point] = ()
    """Loss by step."""
    tasks: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    """Validation losses of a run that learns several things, by name."""
    pictures: Sequence[tuple[int, str]] = ()
    """Steps after which it drew, and the paths of the grids; a run that goes on shows its newest, step -1."""
    gates: Mapping[str, Any] | None = None
    """The map of a model that fuses by gates, as the trainer writes it."""


class RunLogs:
    """Logs of trainings; several threads may ask."""

    def __init__(self, vermeil: Vermeil) -> None:
        self._vermeil = vermeil
        self._kept: OrderedDict[tuple[str, str, str], Any] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, job: Job) -> RunLog:
        """What a job shows now; empty where it shows nothing."""
        return self._once(job, "", lambda: self._read(job)) or RunLog()

    def picture(self, job: Job, path: str) -> bytes | None:
        """One of its grids; None where it has gone."""
        return self._once(job, path, lambda: self._vermeil.output_file(job.name, LOG, path))

    def _read(self, job: Job) -> RunLog:
        paths = self._vermeil.output_files(job.name, LOG)
        lines = self._vermeil.output_file(job.name, LOG, _METRICS) if _METRICS in paths else b""
        gates = json.loads(self._vermeil.output_file(job.name, LOG, _GATES)) if _GATES in paths else None
        return run_log_of(map(json.loads, lines.splitlines()), paths, gates)

    def _once(self, job: Job, what: str, read: Callable[[], Read]) -> Read | None:
        if LOG not in job.outputs:
            return None
        key = (job.name, job.outputs[LOG], what)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]  # type: ignore[no-any-return]  # what was read under this key
        try:
            found = read()
        except NotFound:
            # A gateway of before, or a log that was replaced in this moment.
            return None
        with self._lock:
            self._kept[key] = found
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return found


def run_log_of(
    lines: Iterable[Mapping[str, Any]], paths: Sequence[str], gates: Mapping[str, Any] | None
) -> RunLog:
    """Read the lines of metrics.jsonl and the names of the files beside it."""
    curves: dict[str, list[Point]] = {}
    for line in lines:
        for name, value in line.items():
            if name == "loss" or name.startswith("validation_loss"):
                curves.setdefault(name, []).append((line["step"], value))
    drawn = [(_step_in(path), path) for path in sorted(paths) if path.startswith(_SAMPLES)]
    return RunLog(
        training=curves.pop("loss", ()),
        validation=curves.pop("validation_loss", ()),
        tasks={name.removeprefix("validation_loss_"): points for name, points in curves.items()},
        pictures=drawn or ([(-1, _NEWEST)] if _NEWEST in paths else []),
        gates=gates,
    )


def _step_in(path: str) -> int:
    """samples/step-00000250.png → 250"""
    return int(path.removeprefix(f"{_SAMPLES}step-").removesuffix(".png"))
