"""An evaluation from first to last, plain: folders in, report and report folder out."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from vermeil_errors import InvalidInput

from vermeil_evaluator.catalogue import find_task
from vermeil_evaluator.report import Report, write_report
from vermeil_evaluator.task import EvaluationTask, Material, Measurement, Progress

DEFAULT_SPLIT = "validation"


@dataclass(frozen=True)
class Named:
    """A folder and what it is called in the report."""

    name: str
    """Such as "models/nano/versions/3"."""
    folder: Path
    """Its files."""
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

    def __post_init__(self) -> None:
        find_task(self.task)
        for field, value in (("spec.limit", self.limit), ("spec.seed", self.seed)):
            if value < 0:
                raise InvalidInput.for_field(field, value, "must not be negative", "use 0 or more")


def evaluate(
    evaluation: Evaluation,
    model: Named,
    dataset: Named,
    folder: Path,
    progress: Progress = lambda _done, _total, _message: None,
) -> Report:
    """Measure a model on a dataset, and write the report folder."""
    task = find_task(evaluation.task)
    found = task.measure(
        Material(model.folder, dataset.folder, evaluation.split, evaluation.limit, evaluation.seed, progress)
    )
    report = Report(
        model=model.name,
        model_digest=model.digest,
        task=f"{task.name}@{task.version}",
        task_hash=_hash(task, found),
        data=f"{dataset.name}#{evaluation.split}",
        num_items=len(found.items),
        metrics=found.metrics,
    )
    write_report(folder, report, found.items, found.details)
    return report


def _hash(task: EvaluationTask, found: Measurement) -> str:
    definition = {"task": task.name, "version": task.version, **found.definition}
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
