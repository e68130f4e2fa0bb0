"""What a task is: given a model's files and data, it returns numbers, items and what they depend on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vermeil_evaluator.report import Item, Metric

Progress = Callable[[int, int, str], None]
"""Called with items done, items in all and a sentence, several times a second; may raise to stop."""


@dataclass(frozen=True)
class Material:
    """What a task works on."""

    model: Path
    """Folder of the model version."""
    dataset: Path
    """Folder of the dataset version."""
    split: str
    """Such as "validation"."""
    limit: int
    """At most this many items; 0 for all."""
    seed: int
    """Of intervals and of sampling."""
    progress: Progress
    """Where to report."""


@dataclass(frozen=True)
class Measurement:
    """What a task found."""

    metrics: tuple[Metric, ...]
    """The numbers, most telling first."""
    items: Sequence[Item]
    """What the numbers were made of, one entry an item."""
    definition: Mapping[str, object]
    """All that numbers must share to be comparable: parameters of the task and hash of its data."""
    details: Mapping[str, object]
    """How the numbers came about, for people."""


class EvaluationTask(Protocol):
    """Something that can be measured."""

    @property
    def name(self) -> str:
        """Such as "perplexity"."""
        ...

    @property
    def version(self) -> int:
        """Grows whenever its numbers stop being comparable."""
        ...

    @property
    def description(self) -> str:
        """A sentence for people."""
        ...

    def measure(self, material: Material) -> Measurement:
        """Do it."""
        ...
