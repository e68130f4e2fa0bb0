"""Raw files to a raw dataset folder: read, check, deduplicate, split, write. Usable without any server.

Pictures are taken in by vermeil_ingest.images, texts here. Streams: one document and one record batch
of each split are in memory, and 32 bytes for each document seen. The same files and settings give the
same bytes.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from vermeil_data import DatasetCard, DatasetWriter, Sample, Skipped, Splitter
from vermeil_errors import InvalidInput, VermeilError

from vermeil_ingest.documents import BadDocument, Document, Reading, read_documents
from vermeil_ingest.images.ingest_images import ingest_images
from vermeil_ingest.images.layouts import holds_pictures, source_name
from vermeil_ingest.images.readers.embedded import SCHEMES, check_embedded
from vermeil_ingest.ingestion import MAX_SKIPPED, PASSED_OVER, Ingestion, Report
from vermeil_ingest.shelf import OpenBucket, no_bucket
from vermeil_ingest.sources import FoundFile, Source, check_source, find_files

__all__ = ["Ingestion", "Report", "check_sources", "ingest", "ingest_documents", "wants_pictures"]

_TELL_EVERY = 500

_LEFT_OUT = ("empty", "binary", "invalid", "malformed", "too_large", "unreadable", "missing")
_COUNTS = ("files_found", *PASSED_OVER, "written", "duplicate", "replaced_characters", *_LEFT_OUT)


def ingest(
    ingestion: Ingestion,
    folder: Path,
    *,
    roots: Sequence[Path],
    report: Report | None = None,
    open_bucket: OpenBucket = no_bucket,
) -> DatasetCard:
    """Write the dataset into `folder`; refused, with the reasons, if there is nothing to write."""
    check_sources(ingestion, roots)
    to_work = ingest_images if wants_pictures(ingestion, roots, open_bucket) else ingest_documents
    return to_work(ingestion, folder, roots=roots, report=report, open_bucket=open_bucket)


def wants_pictures(ingestion: Ingestion, roots: Sequence[Path], open_bucket: OpenBucket = no_bucket) -> bool:
    """Whether it is about pictures: as told, or as the names of the files say; all sources must agree."""
    if ingestion.media != "auto":
        return ingestion.media == "image"
    found = [holds_pictures(source, roots, open_bucket) for source in ingestion.sources]
    if any(found) and not all(found):
        raise InvalidInput(
            "some sources hold pictures and some text",
            field="spec.sources",
            fix="ingest them apart, or set media",
        )
    return all(found)


def ingest_documents(
    ingestion: Ingestion,
    folder: Path,
    *,
    roots: Sequence[Path],
    report: Report | None = None,
    open_bucket: OpenBucket = no_bucket,
) -> DatasetCard:
    """The same for text."""
    counts = Counter(dict.fromkeys(_COUNTS, 0))
    files = [file for source in ingestion.sources for file in _files(source, roots, counts, open_bucket)]
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
            source=ingestion.described_origin,
            licence=ingestion.licence,
            counts=dict(counts),
            skipped=intake.skipped,
        )
    if report:
        report(len(files), len(files), f"{counts['written']:,} documents")
    return card


def _files(
    source: Source, roots: Sequence[Path], counts: Counter[str], open_bucket: OpenBucket
) -> Iterator[FoundFile]:
    if source.scheme in SCHEMES:
        raise InvalidInput.for_field("spec.media", "text", f"{source.uri} has pictures", "use image")
    if source.scheme != "s3":
        yield from find_files(source, roots, counts)
        return
    place = Path(source.uri.removeprefix("s3://"))
    for entry in open_bucket(source).entries:
        yield FoundFile(place / entry.id, entry.id, source, entry.local)


def check_sources(ingestion: Ingestion, roots: Sequence[Path]) -> None:
    """All sources are there and lie within the roots."""
    for index, source in enumerate(ingestion.sources):
        if source.scheme in SCHEMES:
            check_embedded(source.uri)
        elif source.scheme != "s3":
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
    names = ", ".join(map(source_name, ingestion.sources))
    passed_over = [f"{counts[name]} {name.removeprefix('files_')}" for name in PASSED_OVER if counts[name]]
    if not counts["files_found"]:
        reason = f"has no files to read ({', '.join(passed_over) or 'it is empty'})"
        return InvalidInput(reason, field=names, fix="check the folder and the globs")
    left_out = ", ".join(f"{counts[name]} {name}" for name in _LEFT_OUT if counts[name])
    example = f"; for example {skipped[0].id}: {skipped[0].reason}" if skipped else ""
    reason = f"has no usable text in {counts['files_found']} files: {left_out}{example}"
    return InvalidInput(reason, field=names, fix="point at text, .jsonl or .parquet files")
