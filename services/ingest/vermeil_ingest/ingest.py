"""Raw files to a raw dataset folder: read, check, deduplicate, split, write. Usable without any server.

Streams: one document and one record batch of each split are in memory, and 32 bytes for each
document seen. The same files and settings give the same bytes.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vermeil_data import DatasetCard, DatasetWriter, Sample, Skipped, SplitBy, Splitter
from vermeil_errors import InvalidInput, VermeilError
from vermeil_media import MAX_FILE_BYTES

from vermeil_ingest.documents import BadDocument, Document, Reading, read_documents
from vermeil_ingest.sources import FoundFile, Source, check_source, find_files

MAX_SKIPPED = 100
"""Entries of the card's list of what was left out; its counts have all."""
_TELL_EVERY = 500

_PASSED_OVER = ("files_hidden", "files_excluded", "files_outside_roots")
_LEFT_OUT = ("empty", "binary", "invalid", "malformed", "too_large", "unreadable", "missing")
_COUNTS = ("files_found", *_PASSED_OVER, "written", "duplicate", "replaced_characters", *_LEFT_OUT)

Report = Callable[[int, int, str], None]
"""Called with files done, files in all and a sentence; may raise to stop."""


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

    def __post_init__(self) -> None:
        if not self.sources:
            raise InvalidInput("at least one source is needed", field="spec.sources")
        if not 0 <= self.validation_fraction <= 0.5:
            raise InvalidInput.for_field(
                "spec.validation_fraction", self.validation_fraction, "is out of range", "choose 0 to 0.5"
            )
        if self.max_document_bytes < 1:
            raise InvalidInput.for_field("spec.max_file_bytes", self.max_document_bytes, "must be positive")


def ingest(
    ingestion: Ingestion, folder: Path, *, roots: Sequence[Path], report: Report | None = None
) -> DatasetCard:
    """Write the dataset into `folder`; refused, with the reasons, if there is nothing to write."""
    check_sources(ingestion, roots)
    counts = Counter(dict.fromkeys(_COUNTS, 0))
    files = [file for source in ingestion.sources for file in find_files(source, roots, counts)]
    counts["files_found"] = len(files)
    with DatasetWriter(folder) as writer:
        splitter = Splitter(
            writer.add,
            validation_fraction=ingestion.validation_fraction,
            by=ingestion.split_by,
            spool=folder / ".waiting",
        )
        intake = _Intake(ingestion, splitter, counts, report)
        for file in files:
            intake.take(file)
        if not counts["written"]:
            raise _nothing(ingestion, counts, intake.skipped)
        splitter.finish()
        card = writer.finish(
            ingestion.name,
            source=ingestion.origin or ", ".join(source.path.name for source in ingestion.sources),
            licence=ingestion.licence,
            counts=dict(counts),
            skipped=intake.skipped,
        )
    if report:
        report(len(files), len(files), f"{counts['written']:,} documents")
    return card


def check_sources(ingestion: Ingestion, roots: Sequence[Path]) -> None:
    """All sources are there and lie within the roots."""
    for index, source in enumerate(ingestion.sources):
        check_source(source.path, roots, f"spec.sources[{index}].uri")


class _Intake:
    """Takes documents in, one by one, and keeps count."""

    def __init__(
        self, ingestion: Ingestion, splitter: Splitter, counts: Counter[str], report: Report | None
    ) -> None:
        self._report = report
        self._done = 0
        self._ingestion = ingestion
        self._splitter = splitter
        self._counts = counts
        self._reading = Reading(ingestion.invalid_text, ingestion.max_document_bytes)
        self._seen: set[bytes] = set()
        self.skipped: list[Skipped] = []

    def take(self, file: FoundFile) -> None:
        self._tell(file.id)
        for number, document in enumerate(read_documents(file, self._reading), 1):
            if number % _TELL_EVERY == 0:
                self._tell(f"{file.id}, document {number:,}")
            if isinstance(document, BadDocument):
                self._leave_out(document.id, document.error)
            elif not document.text.strip():
                empty = InvalidInput("is empty", field=document.id, metadata={"problem": "empty"})
                self._leave_out(document.id, empty)
            else:
                self._keep(document)
        self._done += 1

    def _tell(self, message: str) -> None:
        if self._report:
            self._report(self._done, self._counts["files_found"], message)

    def _keep(self, document: Document) -> None:
        sample = Sample.of_text(document.text, id=document.id)
        if not self._ingestion.keep_duplicates:
            if sample.digest in self._seen:
                self._counts["duplicate"] += 1
                return
            self._seen.add(sample.digest)
        self._counts["written"] += 1
        self._counts["replaced_characters"] += document.num_replaced
        self._splitter.add(sample)

    def _leave_out(self, document_id: str, error: VermeilError) -> None:
        if self._ingestion.bad_files == "refuse":
            raise error
        self._counts[error.metadata.get("problem", "unreadable")] += 1
        if len(self.skipped) < MAX_SKIPPED:
            self.skipped.append(Skipped(document_id, error.message))


def _nothing(ingestion: Ingestion, counts: Counter[str], skipped: Sequence[Skipped]) -> InvalidInput:
    names = ", ".join(str(source.path) for source in ingestion.sources)
    passed_over = [f"{counts[name]} {name.removeprefix('files_')}" for name in _PASSED_OVER if counts[name]]
    if not counts["files_found"]:
        reason = f"has no files to read ({', '.join(passed_over) or 'it is empty'})"
        return InvalidInput(reason, field=names, fix="check the folder and the globs")
    left_out = ", ".join(f"{counts[name]} {name}" for name in _LEFT_OUT if counts[name])
    example = f"; for example {skipped[0].id}: {skipped[0].reason}" if skipped else ""
    reason = f"has no usable text in {counts['files_found']} files: {left_out}{example}"
    return InvalidInput(reason, field=names, fix="point at text, .jsonl or .parquet files")
