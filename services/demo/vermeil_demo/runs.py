"""Trainings as curves. The gateway tells the newest loss, and in the log every validation loss: the first
is gathered here while somebody looks, the second is whole at any time."""

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vermeil_client.resources import Job

from vermeil_demo.charts import Curve, Point, chart
from vermeil_demo.markup import bar, card, facts, figure, notice

TRAIN = "vermeil.trainer.v1.train"
_VALIDATION = re.compile(r"step (?P<step>\d+): validation loss (?P<loss>[\d.]+(e[+-]?\d+)?)")
_MOST_RUNS, _MOST_POINTS = 64, 2000


@dataclass
class Losses:
    """Losses of trainings as they were told, of the newest runs; several threads may add."""

    _points: "OrderedDict[str, list[Point]]" = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, job: Job) -> Sequence[Point]:
        """Take in a look at a job; all points of it so far, by step."""
        with self._lock:
            points = self._points.setdefault(job.name, [])
            self._points.move_to_end(job.name)
            if len(self._points) > _MOST_RUNS:
                self._points.popitem(last=False)
            loss = job.metrics.get("loss")
            if loss is not None and (not points or job.done > points[-1][0]):
                points.append((job.done, loss))
            if len(points) > _MOST_POINTS:
                del points[:-1:2]
            return tuple(points)


def validation_points(lines: Iterable[Mapping[str, Any]]) -> list[Point]:
    """The validation losses that a training wrote into its log."""
    found = (_VALIDATION.search(line.get("text", "")) for line in lines)
    return [(int(each["step"]), float(each["loss"])) for each in found if each]


def name_of(job: Job) -> str:
    """What people call a training: the recipe, and how it is."""
    recipe = (job.raw.get("spec") or {}).get("recipe") or {}
    return f"{recipe.get('name') or job.name} · {job.state.lower()} · {job.name.removeprefix('jobs/')[-6:]}"


def shown(job: Job, training: Sequence[Point], validation: Sequence[Point]) -> str:
    """A training: how far it is, its curves, its figures."""
    far = f"{figure(job.done)} of {figure(job.total)}" if job.total else "not begun"
    rows = [(name.replace("_", " "), figure(value)) for name, value in sorted(job.metrics.items())]
    result = [(name.replace("_", " "), _plain(value)) for name, value in sorted(job.result.items())]
    failed = notice("It failed", job.error.public_message, tone="error") if job.error else ""
    curves = chart([Curve("training loss", training), Curve("validation loss", validation)], job.total)
    if not curves:
        curves = notice("No loss yet", "The first comes with the first steps.", tone="busy")
    done = bar(job.done / job.total if job.total else 0.0, "Steps")
    return "".join(
        [
            card(name_of(job), f"{failed}{done}{facts([('Steps', far), *rows])}"),
            card("Loss", curves),
            card("Result", facts(result)) if result else "",
        ]
    )


def _plain(value: object) -> str:
    return figure(value) if isinstance(value, int | float) else str(value)
