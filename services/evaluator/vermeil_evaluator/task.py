"""What a task is: where its items come from, what to ask about each, what the answers are worth.

A task is one file with a TASK. It knows no model, no cache and no report: requests go out, answers come
in, rows of plain values come out, and named statistics make numbers of them.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vermeil_errors import InvalidInput

from vermeil_evaluator.ask import Asker
from vermeil_evaluator.item import Item, Items
from vermeil_evaluator.models.model import Model
from vermeil_evaluator.requests import Answer, Request

Progress = Callable[[int, int, str], None]
"""Called with items done, items in all and a sentence, several times a second; may raise to stop."""
Row = MutableMapping[str, Any]
"""What was found of one item: JSON values; a picture as PNG under "picture"; names with _ are not kept."""
Option = int | float | str
Options = Mapping[str, Option]


@dataclass(frozen=True)
class Material:
    """What a task's items are read from."""

    data: Path
    """Folder of a dataset, or a file of JSON lines."""
    split: str
    """Such as "validation"; of datasets only."""
    limit: int
    """At most this many items; 0 for all."""
    model: Model
    """Who will be asked."""
    options: Options
    """Of the task, defaults filled in."""
    seed: int = 0
    """Of sampling."""
    scratch: Path = Path()
    """Folder for what a task makes of the data; gone with the evaluation."""


@dataclass(frozen=True)
class Run:
    """What prompts and scores may look at, beside the item."""

    options: Options
    """Of the task, defaults filled in."""
    num_items: int
    """How many there are."""
    seed: int
    """Of sampling and of intervals."""
    material: Material
    """What the items were read from."""
    judge: Asker | None = None
    """A second model that looks at the answers of the first; tasks with `needs_judge` have one."""

    def number(self, name: str) -> float:
        """An option that is a number."""
        return float(self.options[name])


@dataclass(frozen=True)
class Rule:
    """How rows become a number: a statistic of libs/metrics over some of their fields."""

    name: str
    """What the number is called."""
    statistic: str
    """mean, share, ratio, bits_per_byte, perplexity, bleu; or of arrays: array_mean, frechet, kernel."""
    fields: tuple[str, ...]
    """Of rows, in the order the statistic wants them; of a set statistic, names of arrays."""
    lower_is_better: bool = False
    """Which way is up."""


def mean(name: str, *, lower_is_better: bool = False) -> Rule:
    """The mean of the field of that name."""
    return Rule(name, "mean", (name,), lower_is_better)


def share(name: str) -> Rule:
    """The mean of the field of that name, which is 0 to 1 by nature."""
    return Rule(name, "share", (name,))


@dataclass(frozen=True)
class Curve:
    """Something to look at."""

    title: str
    """What it shows."""
    x_label: str
    y_label: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Conclusion:
    """What only all rows together tell."""

    arrays: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """For set statistics, and kept beside the report."""
    curves: Sequence[Curve] = ()
    """For the page."""
    details: Mapping[str, object] = field(default_factory=dict)
    """How the numbers came about, for people."""
    metrics: tuple["Rule", ...] = ()
    """More numbers, whose names the data give."""


def _no_conclusion(_rows: Sequence[Row], _run: Run) -> Conclusion:
    return Conclusion()


def _fits_everything(_run: Run) -> None:
    return


@dataclass(frozen=True)
class Task:
    """Something that can be measured."""

    name: str
    """Such as "perplexity"."""
    version: int
    """Grows whenever its numbers stop being comparable."""
    description: str
    """A sentence for people."""
    request: type[Request]
    """What it asks."""
    data: Callable[[Material], Items]
    """Reads the items, and refuses data that do not fit."""
    prompt: Callable[[Item, Run], Sequence[Request]]
    """What to ask about an item."""
    score: Callable[[Item, Sequence[Answer], Run], Row]
    """What the answers are worth; "id" and "group" are added."""
    metrics: tuple[Rule, ...]
    """The numbers, most telling first."""
    check: Callable[[Run], None] = _fits_everything
    """Refuses a model or judge that does not fit the data, before anything is asked."""
    conclude: Callable[[Sequence[Row], Run], Conclusion] = _no_conclusion
    """Looks at all rows at the end, and may add to them."""
    options: Options = field(default_factory=dict)
    """What a user may change, with defaults; part of what must be equal for numbers to be comparable."""
    needs_judge: bool = False
    """Whether a second model must look at the answers."""
    data_kind: str = "dataset"
    """Which of the data the model learned from to take where none are named; "questions" must be named."""

    @property
    def id(self) -> str:
        """With its version: "perplexity@1"."""
        return f"{self.name}@{self.version}"

    def settle(self, given: Mapping[str, str]) -> Options:
        """Options with their defaults; an unknown or ill-typed one is refused by name."""
        settled = dict(self.options)
        for name, text in given.items():
            if name not in settled:
                known = ", ".join(settled) or "it has none"
                raise InvalidInput.for_field(
                    f"spec.options.{name}", text, f"is no option of {self.name}", f"known: {known}"
                )
            kind = type(settled[name])
            try:
                settled[name] = kind(text)
            except ValueError as error:
                raise InvalidInput.for_field(
                    f"spec.options.{name}", text, f"is not {_KINDS[kind]}", f"write {settled[name]}"
                ) from error
        return settled


_KINDS: Mapping[type[Option], str] = {int: "a whole number", float: "a number", str: "a text"}
