"""An evaluation from first to last, plain: folders in, report and report folder out."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from vermeil_errors import InvalidInput

from vermeil_evaluator.ask import Asker
from vermeil_evaluator.cache import AnswerCache
from vermeil_evaluator.catalogue import find_task
from vermeil_evaluator.item import Items
from vermeil_evaluator.models.model import Model
from vermeil_evaluator.numbers import interval
from vermeil_evaluator.page import write_page
from vermeil_evaluator.report import Metric, Report, write_report
from vermeil_evaluator.task import Conclusion, Material, Option, Progress, Row, Rule, Run, Task

DEFAULT_SPLIT = "validation"
_PROGRESS_SECONDS = 0.2


@dataclass(frozen=True)
class Named:
    """A folder and what it is called in the report."""

    name: str
    """Such as "models/nano/versions/3"."""
    folder: Path
    """Its files; of data also a file of JSON lines."""
    digest: str = ""
    """Digest of its artifact; empty where it was never published."""


@dataclass(frozen=True)
class Evaluation:
    """What to measure and how."""

    task: str
    """Name of a task in the catalogue."""
    split: str = DEFAULT_SPLIT
    """Such as "validation"."""
    limit: int = 0
    """At most this many items; 0 for all."""
    seed: int = 0
    """Of intervals and of sampling, 0 or more."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Of the task, as text."""
    include: tuple[Path, ...] = ()
    """Folders of the user's own task files."""

    def __post_init__(self) -> None:
        find_task(self.task, self.include).settle(self.options)
        for name, value in (("spec.limit", self.limit), ("spec.seed", self.seed)):
            if value < 0:
                raise InvalidInput.for_field(name, value, "must not be negative", "use 0 or more")


@dataclass(frozen=True)
class Subjects:
    """Who is asked, and who judges."""

    model: Model
    name: str
    """What the model is called."""
    data: Named
    """What it is asked about."""
    judge: Model | None = None
    """A model that looks at the answers."""


def evaluate(
    evaluation: Evaluation,
    model: Named,
    dataset: Named,
    folder: Path,
    progress: Progress = lambda _done, _total, _message: None,
    *,
    judge: Named | None = None,
    cache: Path | None = None,
) -> Report:
    """Measure a model on data, and write the report folder. Answers are kept in the folder `cache`."""
    from vermeil_evaluator.models.opening import open_model  # noqa: PLC0415 torch, only where it works

    judging = open_model(judge.folder, judge.digest) if judge else None
    subjects = Subjects(open_model(model.folder, model.digest), model.name, dataset, judging)
    with AnswerCache(cache) as answers:
        return measure(evaluation, subjects, folder, answers, progress)


def measure(
    evaluation: Evaluation, subjects: Subjects, folder: Path, cache: AnswerCache, progress: Progress
) -> Report:
    """The same with models that are open."""
    task = find_task(evaluation.task, evaluation.include)
    if task.needs_judge and subjects.judge is None:
        raise InvalidInput.for_field(
            "spec.judge", "", f"is needed for {task.name}", "name a classifier that was trained on such data"
        )
    with TemporaryDirectory() as scratch:
        return _measured(task, evaluation, subjects, folder, cache, progress, Path(scratch))


def _measured(
    task: Task,
    evaluation: Evaluation,
    subjects: Subjects,
    folder: Path,
    cache: AnswerCache,
    progress: Progress,
    scratch: Path,
) -> Report:
    options = task.settle(evaluation.options)
    data, split, limit = subjects.data.folder, evaluation.split, evaluation.limit
    material = Material(data, split, limit, subjects.model, options, evaluation.seed, scratch)
    items = task.data(material)
    teller = _Teller(progress, len(items))
    judge = Asker(subjects.judge, cache, "judge", teller.check) if subjects.judge else None
    run = Run(options, len(items), evaluation.seed, material, judge)
    task.check(run)
    progress(0, len(items), "loading the model")
    rows = _rows(task, items, run, Asker(subjects.model, cache, task.id, teller.check), teller)
    conclusion = task.conclude(rows, run)
    progress(len(items), len(items), "drawing intervals")
    definition = _definition(task, items, evaluation, options, subjects.judge)
    report = Report(
        model=subjects.name,
        model_digest=subjects.model.digest,
        task=task.id,
        task_hash=hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest(),
        data=f"{subjects.data.name}#{evaluation.split}" if material.data.is_dir() else subjects.data.name,
        num_items=len(rows),
        metrics=_metrics(task, rows, conclusion, evaluation.seed),
        definition=definition,
        judge=_about(subjects.judge, conclusion) if subjects.judge else "",
        seed=evaluation.seed,
    )
    details = {**conclusion.details, "seed": evaluation.seed}
    found = write_report(folder, report, rows, details, conclusion.curves, conclusion.arrays)
    write_page(found)
    return report


def _rows(task: Task, items: Items, run: Run, asker: Asker, teller: "_Teller") -> list[Row]:
    rows: list[Row] = []
    for item, answers in asker.about(items, lambda item: task.prompt(item, run)):
        row = task.score(item, answers, run)
        row["id"] = item.id
        if item.group:
            row["group"] = item.group
        rows.append({"id": row.pop("id"), **row})
        teller.num_done = len(rows)
    return rows


def _metrics(task: Task, rows: Sequence[Row], conclusion: Conclusion, seed: int) -> tuple[Metric, ...]:
    return tuple(
        Metric(
            rule.name,
            interval(rule.statistic, rule.fields, rows, conclusion.arrays, seed),
            rule.lower_is_better,
            rule.statistic,
            rule.fields,
        )
        for rule in (*task.metrics, *conclusion.metrics)
        if _is_known(rule, rows, conclusion)
    )


def _about(judge: Model, conclusion: Conclusion) -> str:
    """The judge as it stands in the report: what it is, how good where that was measured, and which."""
    accuracy = conclusion.details.get("judge_accuracy")
    measured = f", accuracy {accuracy:.2%} on the real ones" if isinstance(accuracy, float) else ""
    return f"{judge.about}{measured}, {judge.digest}"


def _is_known(rule: Rule, rows: Sequence[Row], conclusion: Conclusion) -> bool:
    """A number nothing says anything about is left out: class accuracy where there are no classes."""
    name = rule.fields[0]
    return name in conclusion.arrays or any(name in row for row in rows)


def _definition(
    task: Task, items: Items, evaluation: Evaluation, options: Mapping[str, Option], judge: Model | None
) -> dict[str, object]:
    """All that numbers must share to be comparable."""
    definition: dict[str, object] = {
        "task": task.name,
        "version": task.version,
        "data": items.sha256,
        "limit": evaluation.limit,
    }
    if options:
        definition["options"] = dict(options)
    if judge:
        definition["judge"] = judge.digest
    return definition


class _Teller:
    """Reports progress between batches, some times a second."""

    def __init__(self, progress: Progress, num_items: int) -> None:
        self._progress = progress
        self._num_items = num_items
        self._last = 0.0
        self.num_done = 0

    def check(self) -> None:
        """Called often."""
        now = time.monotonic()
        if now - self._last >= _PROGRESS_SECONDS:
            self._last = now
            self._progress(self.num_done, self._num_items, f"scoring, {self.num_done:,} items so far")
