"""Pictures to a raw dataset folder: plan, look, choose, deduplicate, describe, split, write.

Looking is done apart from the rest, in any number of processes or jobs; all that depends on what came
before is done in one, in order. So the same pictures and settings give the same bytes, however divided.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vermeil_data import DatasetCard, DatasetWriter
from vermeil_errors import InvalidInput

from vermeil_ingest.images.candidates import Found, Unit
from vermeil_ingest.images.facts import Looking
from vermeil_ingest.images.intake import COUNTS, Intake
from vermeil_ingest.images.layouts import plan_source, source_name
from vermeil_ingest.images.look import Lookers, Seen
from vermeil_ingest.images.shards import read_shard, write_shard
from vermeil_ingest.ingestion import PASSED_OVER, Ingestion, Report
from vermeil_ingest.shelf import OpenBucket, no_bucket


@dataclass(frozen=True)
class Survey:
    """What there is to look at, before any picture is opened."""

    units: tuple[Unit, ...]
    classes: tuple[str, ...]
    has_validation: bool
    counts: Counter[str]

    @property
    def num_pictures(self) -> int:
        """As far as they are counted."""
        return sum(unit.size for unit in self.units)

    def part(self, index: int, count: int) -> tuple[Unit, ...]:
        """The units of one of `count` shards; together, in order, they are all."""
        low, high = (len(self.units) * each // count for each in (index, index + 1))
        return self.units[low:high]


def survey(ingestion: Ingestion, roots: Sequence[Path], open_bucket: OpenBucket = no_bucket) -> Survey:
    """Plan all sources."""
    counts = Counter(dict.fromkeys(COUNTS, 0))
    plans = [
        plan_source(source, ingestion.images, roots, counts, open_bucket) for source in ingestion.sources
    ]
    classes = tuple(dict.fromkeys(name for plan in plans for name in plan.classes))
    units = tuple(unit for plan in plans for unit in plan.units)
    if not units:
        names = ", ".join(map(source_name, ingestion.sources))
        passed_over = [
            f"{counts[name]} {name.removeprefix('files_')}" for name in PASSED_OVER if counts[name]
        ]
        reason = f"has no pictures ({', '.join(passed_over) or 'it is empty'})"
        raise InvalidInput(reason, field=names, fix="check the folder and the globs")
    return Survey(units, classes, any(plan.has_validation for plan in plans), counts)


def look_at_units(
    units: Sequence[Unit], ingestion: Ingestion, report: Report | None = None
) -> Iterator[Seen]:
    """Every picture of these units with its facts, in order."""
    rules = ingestion.images
    looking = Looking(rules.min_sharpness > 0, rules.near_duplicates is not None, rules.limits)
    total = sum(unit.size for unit in units)

    def found() -> Iterator[Found]:
        done = 0
        for unit in units:
            if report:
                report(done, total, unit.name)
            for number, each in enumerate(unit.read(), 1):
                if report and number % 256 == 0:
                    report(done + min(number, unit.size), total, each.id)
                yield each
            done += unit.size

    with Lookers(looking, rules.num_workers) as lookers:
        yield from lookers.look(found())


def ingest_images(
    ingestion: Ingestion,
    folder: Path,
    *,
    roots: Sequence[Path],
    report: Report | None = None,
    open_bucket: OpenBucket = no_bucket,
) -> DatasetCard:
    """All of it in one."""
    found = survey(ingestion, roots, open_bucket)
    seen = look_at_units(found.units, ingestion, report)
    card = take_in(ingestion, folder, found, seen)
    if report:
        report(found.num_pictures, found.num_pictures, f"{card.counts['written']:,} pictures")
    return card


def look_at_shard(
    ingestion: Ingestion,
    shard: int,
    folder: Path,
    *,
    roots: Sequence[Path],
    report: Report | None = None,
    open_bucket: OpenBucket = no_bucket,
) -> int:
    """Write down what is seen in one of the shards; how many pictures."""
    units = survey(ingestion, roots, open_bucket).part(shard, ingestion.images.num_shards)
    count = write_shard(folder, look_at_units(units, ingestion, report), ingestion.name)
    if report:
        report(count, count, f"{count:,} pictures")
    return count


def merge_shards(
    ingestion: Ingestion,
    shards: Sequence[Path],
    folder: Path,
    *,
    roots: Sequence[Path],
    report: Report | None = None,
    open_bucket: OpenBucket = no_bucket,
) -> DatasetCard:
    """Take in what was seen in all shards, in their order."""
    found = survey(ingestion, roots, open_bucket)

    def seen() -> Iterator[Seen]:
        for number, shard in enumerate(shards):
            if report:
                report(number, len(shards), f"shard {number + 1}")
            yield from read_shard(shard)

    card = take_in(ingestion, folder, found, seen())
    if report:
        report(len(shards), len(shards), f"{card.counts['written']:,} pictures")
    return card


def take_in(ingestion: Ingestion, folder: Path, found: Survey, seen: Iterator[Seen]) -> DatasetCard:
    """Choose among what was seen, and write it."""
    with DatasetWriter(folder) as writer:
        intake = Intake(ingestion, writer.add, found.has_validation, found.counts, folder / ".waiting")
        for each in seen:
            intake.take(each)
        intake.finish(found.classes)
        return writer.finish(
            ingestion.name,
            source=ingestion.described_origin,
            licence=ingestion.licence,
            counts=dict(intake.counts),
            skipped=intake.skipped,
        )
