"""What to make a dataset of, and how: the specification of an ingestion, checked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vermeil_data import SplitBy
from vermeil_errors import InvalidInput
from vermeil_media import MAX_FILE_BYTES

from vermeil_ingest.images.rules import RULES, ImageRules
from vermeil_ingest.sources import Source

MAX_SKIPPED = 100
"""Entries of the card's list of what was left out; its counts have all."""
PASSED_OVER = ("files_hidden", "files_excluded", "files_outside_roots")
"""Counts of files that were not looked at."""

Media = Literal["auto", "text", "image"]
Report = Callable[[int, int, str], None]
"""Called with files or pictures done, how many in all and a sentence; may raise to stop."""


@dataclass(frozen=True)
class Ingestion:
    """What to make a dataset of, and how."""

    name: str
    """Id of the dataset."""
    sources: tuple[Source, ...]
    validation_fraction: float = 0.05
    """0 to 0.5."""
    split_by: SplitBy = "auto"
    bad_files: Literal["skip", "refuse"] = "skip"
    """What happens to files and records that cannot be used."""
    invalid_text: Literal["replace", "refuse"] = "replace"
    """What happens to bytes that are not UTF-8."""
    keep_duplicates: bool = False
    origin: str = ""
    """Where the data come from, for the card."""
    licence: str = ""
    max_document_bytes: int = MAX_FILE_BYTES
    media: Media = "auto"
    """auto: pictures if most files are, else text."""
    images: ImageRules = RULES
    """How pictures are checked, chosen and described."""

    def __post_init__(self) -> None:
        if not self.sources:
            raise InvalidInput("at least one source is needed", field="spec.sources")
        if not 0 <= self.validation_fraction <= 0.5:
            raise InvalidInput.for_field(
                "spec.validation_fraction", self.validation_fraction, "is out of range", "choose 0 to 0.5"
            )
        if self.max_document_bytes < 1:
            raise InvalidInput.for_field("spec.max_file_bytes", self.max_document_bytes, "must be positive")

    @property
    def described_origin(self) -> str:
        """Where the data come from: as told, or the names of the sources."""
        return self.origin or ", ".join(source.uri or source.path.name for source in self.sources)
