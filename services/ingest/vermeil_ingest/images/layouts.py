"""Which layout a source is in, told by the names of its files, and its plan."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vermeil_errors import InvalidInput, VermeilError

from vermeil_ingest.images.candidates import Plan
from vermeil_ingest.images.readers.embedded import SCHEMES, plan_embedded
from vermeil_ingest.images.readers.files import METADATA, plan_files, plan_metadata
from vermeil_ingest.images.readers.idx import is_idx, plan_idx
from vermeil_ingest.images.readers.parquet import image_column, plan_parquet
from vermeil_ingest.images.readers.questions import QUESTIONS, plan_questions
from vermeil_ingest.images.readers.webdataset import ENDINGS, plan_webdataset
from vermeil_ingest.images.rules import ImageRules
from vermeil_ingest.shelf import Entry, OpenBucket, Shelf, local_entries, local_shelf
from vermeil_ingest.sources import Source


def plan_source(
    source: Source,
    rules: ImageRules,
    roots: Sequence[Path],
    counts: Counter[str],
    open_bucket: OpenBucket,
) -> Plan:
    """What a source holds, in order; what is passed over goes into the counts."""
    if source.scheme in SCHEMES:
        return plan_embedded(source.uri)
    shelf = open_bucket(source) if source.scheme == "s3" else local_shelf(source, roots, counts)
    plan, used = _plan(shelf, rules)
    counts["files_other"] += len(shelf.entries) - used
    return plan


def _plan(shelf: Shelf, rules: ImageRules) -> tuple[Plan, int]:
    """The plan and how many files it uses; the most telling files decide."""
    names = [entry.name for entry in shelf.entries]
    if num_idx := sum(map(is_idx, names)):
        return plan_idx(shelf), min(2 * num_idx + ("classes.txt" in names), len(names))
    if num_archives := sum(name.endswith(ENDINGS) for name in names):
        return plan_webdataset(shelf, rules), num_archives
    if num_tables := sum(name.endswith(".parquet") for name in names):
        return plan_parquet(shelf), num_tables
    if QUESTIONS in names:
        return plan_questions(shelf, rules)
    num_pictures = sum(entry.is_picture for entry in shelf.entries)
    num_metadata = names.count(METADATA)
    if num_metadata:
        return plan_metadata(shelf, rules), num_pictures + num_metadata
    if not num_pictures:
        raise InvalidInput(
            f"has no pictures among its {len(names):,} files", field=source_name(shelf.source),
            fix="point at pictures, IDX, .tar or .parquet files",
        )  # fmt: skip
    return plan_files(shelf, rules), num_pictures


def holds_pictures(source: Source, roots: Sequence[Path], open_bucket: OpenBucket) -> bool:
    """Whether a source means pictures rather than text, as far as names tell; of Parquet, its columns."""
    if source.scheme in SCHEMES:
        return True
    entries = entries_of(source, roots, open_bucket)
    names = [entry.name for entry in entries]
    if any(map(is_idx, names)):
        return True
    telling = sum(entry.is_picture or entry.name.endswith(ENDINGS) for entry in entries)
    tables = [entry for entry in entries if entry.name.endswith(".parquet")]
    if tables and len(tables) > telling:
        try:
            return image_column(tables[0].local()) is not None
        except VermeilError:
            return False
    return 2 * telling > len(names)


def entries_of(source: Source, roots: Sequence[Path], open_bucket: OpenBucket) -> tuple[Entry, ...]:
    """The files of a source."""
    if source.scheme == "s3":
        return open_bucket(source).entries
    return local_entries(source, roots, Counter())


def source_name(source: Source) -> str:
    """What errors call a source."""
    return source.uri or str(source.path)
