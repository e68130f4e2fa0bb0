"""What can be measured: every module here that has a TASK. One file more is one task more."""

import importlib
import pkgutil
from functools import cache

from vermeil_errors import InvalidInput

from vermeil_evaluator.task import EvaluationTask


@cache
def catalogue() -> dict[str, EvaluationTask]:
    """All tasks by name."""
    modules = (importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__))
    tasks: list[EvaluationTask] = [module.TASK for module in modules]
    return {task.name: task for task in sorted(tasks, key=lambda task: task.name)}


def find_task(name: str) -> EvaluationTask:
    """The task with this name."""
    task = catalogue().get(name)
    if task is None:
        raise InvalidInput.for_field("spec.task", name, "is not a task", f"use {', '.join(catalogue())}")
    return task
