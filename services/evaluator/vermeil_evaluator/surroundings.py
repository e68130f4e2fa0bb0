"""What an evaluation finds around it: the store, known answers, the user's tasks and files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vermeil_artifacts import ArtifactStore, await_store

from vermeil_evaluator.settings import EvaluatorSettings


@dataclass(frozen=True)
class Surroundings:
    """Read from settings once."""

    store: ArtifactStore
    """Models, data and reports."""
    answers: Path | None = None
    """Folder of known answers; None keeps none."""
    include: tuple[Path, ...] = ()
    """Folders of the user's own task files."""
    roots: tuple[Path, ...] = (Path("/"),)
    """Folders from which files of questions may be read."""

    @classmethod
    def of(cls, settings: EvaluatorSettings) -> Self:
        """Those of a process."""
        return cls(await_store(settings), settings.answers, settings.include, settings.roots)
