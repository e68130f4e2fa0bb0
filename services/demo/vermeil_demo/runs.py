"""Trainings as pages show them: how far, every loss, how far its gates have opened, what it says and draws.

Curves are whole, from the log that a training shows after each validation; the newest losses, which are not
in it yet, are gathered here while somebody looks.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from vermeil_client.resources import Job

from vermeil_demo.charts import Curve, Point, chart, small_charts
from vermeil_demo.gates import gate_map
from vermeil_demo.markup import (
    bar,
    caption,
    card,
    chip,
    data_url,
    escaped,
    facts,
    figure,
    folded,
    notice,
    tiles,
)
from vermeil_demo.run_log import LOG, RunLog

TRAIN = "vermeil.trainer.v1.train"
_VALIDATION = re.compile(r"step (?P<step>\d+): validation loss (?P<loss>[\d.]+(e[+-]?\d+)?)")
_MOST_RUNS, _MOST_POINTS = 64, 2000
_MOST_LINES = 30
_FEW_STEPS = 3
"""From so few nobody can tell how long the rest will take."""


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


def completed(log: RunLog, told: Sequence[Point], validated: Sequence[Point]) -> RunLog:
    """What a training has shown, with what was told since."""
    end = log.training[-1][0] if log.training else 0
    return replace(
        log,
        training=[*log.training, *(point for point in told if point[0] > end)],
        validation=max(log.validation, validated, key=len),
    )


def recipe_name(job: Job) -> str:
    """What was trained."""
    recipe = (job.raw.get("spec") or {}).get("recipe") or {}
    return str(recipe.get("name") or job.name)


def name_of(job: Job) -> str:
    """What people call a training: the recipe, and how it is."""
    return f"{recipe_name(job)} · {job.state.lower()} · {job.name.removeprefix('jobs/')[-6:]}"


def shown(job: Job, log: RunLog, lines: Sequence[Mapping[str, Any]]) -> str:
    """A training: how far it is, its curves, its gates, its figures, its log."""
    failed = notice("It failed", job.error.public_message, tone="error") if job.error else ""
    done = "" if job.state == "SUCCEEDED" else bar(job.done / job.total if job.total else 0.0, "Steps")
    state = chip(job.state.lower(), job.state.lower())
    result = [(name.replace("_", " "), _plain(value)) for name, value in sorted(job.result.items())]
    learned_nothing = job.state == "SUCCEEDED" and not log.training  # it made a model int8, say
    return "".join(
        [
            card(recipe_name(job), f"{failed}{done}{tiles(_figures(job, log))}", beside=state),
            "" if learned_nothing else card("Loss", curves(log, job.total) + _beginning(job)),
            card("Loss by task", by_task) if (by_task := task_curves(log, job.total)) else "",
            card("Gates between the towers", gate_map(log.gates)) if log.gates else "",
            folded("Result", facts(result)) if result else "",
            folded("Log", _lines(lines)) if lines else "",
        ]
    )


def _beginning(job: Job) -> str:
    """Why the curve of a run that has shown no log yet begins only now."""
    if job.state != "RUNNING" or LOG in job.outputs:
        return ""
    return caption("What was before this moment comes with the first validation.")


def curves(log: RunLog, last_step: float = 0.0) -> str:
    """Loss by step, in training and in validation."""
    drawn = chart([Curve("training loss", log.training), Curve("validation loss", log.validation)], last_step)
    return drawn or notice("No loss yet", "The first comes with the first steps.", tone="busy")


def task_curves(log: RunLog, last_step: float = 0.0) -> str:
    """A small chart for each thing that is learned, where a run learns several."""
    named = [
        Curve(f"validation loss of {name.replace('/', ' · ')}", points)
        for name, points in sorted(log.tasks.items())
    ]
    return small_charts(named, last_step)


def newest_picture(log: RunLog, pictures: Mapping[str, bytes]) -> str:
    """What was drawn, the newest large, those before it small and in their order."""
    if not pictures:
        return ""
    drawn = [(step, path) for step, path in log.pictures if path in pictures]
    *earlier, (step, path) = drawn
    strip = "".join(_film(step, pictures[path]) for step, path in earlier)
    film = f'<div class="vermeil-film" tabindex="0" role="group" aria-label="Earlier samples">{strip}</div>'
    large = _film(step, pictures[path], "vermeil-sample")
    return card("Samples while it learns", f"{large}{film if strip else ''}")


def _film(step: int, png: bytes, kind: str = "") -> str:
    when = "the newest" if step < 0 else f"after step {step:,}"
    return (
        f'<figure class="{kind}"><img src="{data_url(png)}" alt="Samples, {when}">'
        f"<figcaption>{when}</figcaption></figure>"
    )


def _figures(job: Job, log: RunLog) -> list[tuple[str, str]]:
    """The few numbers that people look for first."""
    speed = next(((name, value) for name, value in job.metrics.items() if name.endswith("_per_second")), None)
    loss = job.metrics.get("loss", log.training[-1][1] if log.training else None)
    return [
        ("Steps", f"{figure(job.done)} of {figure(job.total)}" if job.total else "not begun"),
        ("Training loss", "" if loss is None else figure(loss)),
        ("Validation loss", figure(log.validation[-1][1]) if log.validation else ""),
        (speed[0].replace("_per_second", " a second").capitalize(), figure(speed[1])) if speed else ("", ""),
        ("Left, about", time_left(job, datetime.now(UTC))),
    ]


def time_left(job: Job, now: datetime) -> str:
    """How long the rest takes if it goes on as so far; empty where nobody can tell."""
    began = job.raw.get("start_time")
    if job.state != "RUNNING" or not began or job.done < _FEW_STEPS or not job.total:
        return ""
    spent = (now - datetime.fromisoformat(began)).total_seconds()
    seconds = spent / job.done * (job.total - job.done)
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _lines(lines: Sequence[Mapping[str, Any]]) -> str:
    told = "\n".join(f"{str(line.get('time', ''))[11:19]}  {line.get('text', '')}" for line in lines)
    return f'<pre class="vermeil-log" tabindex="0">{escaped(told)}</pre>'


def newest(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last lines of a log."""
    return list(lines)[-_MOST_LINES:]


def _plain(value: object) -> str:
    return figure(value) if isinstance(value, int | float) else str(value)
