"""What can be measured: every module here that has a TASK, those of installed packages, and the user's own.

One file more is one task more. Packages name theirs as entry points of the group
`vermeil.evaluation_tasks`; users name folders of task files.
"""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from vermeil_errors import Conflict, InvalidInput, NotFound

from vermeil_evaluator.task import Task

ENTRY_POINT_GROUP = "vermeil.evaluation_tasks"


@lru_cache(maxsize=32)
def catalogue(include: Sequence[Path] = ()) -> dict[str, Task]:
    """All tasks by name; `include` is a tuple of folders whose files are tasks too."""
    found: dict[str, Task] = {}
    for place, task in [*_own(), *_installed(), *_included(include)]:
        if not isinstance(task, Task):
            raise InvalidInput(f"{place}: TASK is a {type(task).__name__}, not a Task", field="include-path")
        if task.name in found:
            raise Conflict(
                f"{place}: there is a task of this name already",
                field="name",
                value=task.name,
                fix="rename it",
            )
        found[task.name] = task
    return dict(sorted(found.items()))


def find_task(name: str, include: Sequence[Path] = ()) -> Task:
    """The task with this name."""
    known = catalogue(tuple(include))
    task = known.get(name)
    if task is None:
        raise InvalidInput.for_field("spec.task", name, "is not a task", f"use {', '.join(known)}")
    return task


def _own() -> Iterator[tuple[str, object]]:
    for each in pkgutil.iter_modules(__path__):
        yield each.name, importlib.import_module(f"{__name__}.{each.name}").TASK


def _installed() -> Iterator[tuple[str, object]]:
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
        yield entry.value, entry.load()


def _included(folders: Sequence[Path]) -> Iterator[tuple[str, object]]:
    for folder in folders:
        if not folder.is_dir():
            raise NotFound("no such folder of tasks", field=str(folder))
        for path in sorted(folder.glob("*.py")):
            task = getattr(_module(path), "TASK", None)
            if task is not None:
                yield str(path), task


def _module(path: Path) -> ModuleType:
    """Import a file under a name of its own; what is wrong with it is said with its path and line."""
    name = f"_vermeil_task_{sha256(str(path.absolute()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec, "a .py file has a loader"
    assert spec.loader, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file may do anything
        del sys.modules[name]
        raise InvalidInput(f"{path}: {type(error).__name__}: {error}", field="include-path") from error
    return module
