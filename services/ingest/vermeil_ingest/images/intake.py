"""Takes pictures in, one by one and in order: filters, duplicates, captions, split; and keeps count."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from vermeil_data import Sample, Segment, Skipped, Splitter
from vermeil_errors import InvalidInput, VermeilError
from vermeil_media import check_text

from vermeil_ingest.images.buckets import bucket_of
from vermeil_ingest.images.candidates import BadCandidate, Candidate, Question
from vermeil_ingest.images.duplicates import Duplicates
from vermeil_ingest.images.facts import Facts
from vermeil_ingest.images.layouts import source_name
from vermeil_ingest.images.look import Seen
from vermeil_ingest.ingestion import MAX_SKIPPED, PASSED_OVER, Ingestion

BAD = (
    *("mislabelled", "malformed", "too_large", "ratio", "frames", "crashed", "escaping"),
    *("missing", "unreadable", "unknown_answer"),
)
"""Problems of files; `bad_files` says what happens."""
FILTERED = ("too_small", "blurred", "caption_length")
"""Sound pictures that are not wanted; never an error."""
COUNTS = (
    *("files_found", *PASSED_OVER, "files_other", "written", "duplicate", "near_duplicate"),
    *("shared_between_splits", "captions", "questions", *FILTERED, *BAD),
)


class Intake:
    """Takes pictures in."""

    def __init__(
        self,
        ingestion: Ingestion,
        emit: Callable[[str, Sample], None],
        has_validation: bool,
        counts: Counter[str],
        spool: Path,
    ) -> None:
        self.counts = counts
        self.skipped: list[Skipped] = []
        self._ingestion, self._rules = ingestion, ingestion.images
        self._emit = partial(_emit_each, emit)
        self._duplicates = Duplicates(self._rules.near_duplicates)
        fraction = 0.0 if has_validation else ingestion.validation_fraction
        self._splitter = Splitter(self._emit, validation_fraction=fraction, by="document", spool=spool)
        self._num_hashed = 0
        self._hashes = fraction > 0
        self._classes: Counter[str] = Counter()

    def take(self, seen: Seen) -> None:
        """One picture, or what should have been one."""
        self.counts["files_found"] += 1
        if isinstance(seen, BadCandidate):
            self._leave_out(seen.id, seen.error)
            return
        candidate, facts = seen
        captions = self._captions(candidate)
        unwanted = self._unwanted(facts, captions)
        if unwanted:
            self.counts[unwanted] += 1
        elif not self._is_duplicate(candidate, facts):
            self._keep(candidate, facts, captions or ())

    def finish(self, classes: Sequence[str]) -> None:
        """No more will come; refused if there is nothing, or nothing of a class that was declared."""
        if not self.counts["written"]:
            raise self._nothing()
        missing = [name for name in classes if not self._classes[name]]
        if missing:
            shown = ", ".join(repr(name) for name in missing[:5])
            raise InvalidInput(
                f"{len(missing)} of {len(classes)} classes have no pictures: {shown}",
                field=", ".join(map(source_name, self._ingestion.sources)),
                fix="add some, or take the class out",
            )
        if self._hashes and self._num_hashed == 1:
            raise InvalidInput.for_field(
                "spec.validation_fraction",
                self._ingestion.validation_fraction,
                "one picture cannot be divided",
                "use 0",
            )
        if self._num_hashed:
            self._splitter.finish()

    def _captions(self, candidate: Candidate) -> tuple[str, ...] | None:
        """Captions that may be used; None if it had some and none may."""
        invalid = self._ingestion.invalid_text
        texts = [
            check_text(text, invalid=invalid, name=candidate.id).text.strip().replace("\0", "")
            for text in candidate.captions
            if "\0" not in text
        ]
        given = [text for text in texts if text]
        if not given and candidate.class_name:
            name = candidate.class_name.replace("_", " ")
            given = [template.replace("{class}", name) for template in self._rules.caption_templates]
        longest = self._rules.max_caption or max(map(len, given), default=0)
        fitting = [text for text in given if self._rules.min_caption <= len(text) <= longest]
        if (given or self._rules.min_caption) and not fitting:
            return None
        return tuple(dict.fromkeys(fitting))

    def _unwanted(self, facts: Facts, captions: tuple[str, ...] | None) -> str | None:
        if min(facts.width, facts.height) < self._rules.min_side:
            return "too_small"
        if facts.sharpness is not None and facts.sharpness < self._rules.min_sharpness:
            return "blurred"
        return "caption_length" if captions is None else None

    def _is_duplicate(self, candidate: Candidate, facts: Facts) -> bool:
        again, elsewhere = self._duplicates.exact(candidate.data, candidate.split)
        if elsewhere:
            self.counts["shared_between_splits"] += 1
        if self._ingestion.keep_duplicates:
            return False
        if again:
            self.counts["duplicate"] += 1
            return True
        if self._duplicates.near(facts, candidate.split):
            self.counts["near_duplicate"] += 1
            return True
        return False

    def _keep(self, candidate: Candidate, facts: Facts, captions: tuple[str, ...]) -> None:
        bucket = bucket_of(facts.width, facts.height)
        metadata = dict(candidate.metadata)
        metadata |= {"width": str(facts.width), "height": str(facts.height), "bucket": bucket}
        if candidate.class_name:
            metadata["class"] = candidate.class_name
            self._classes[candidate.class_name] += 1
            if candidate.class_number is not None:
                metadata["class_number"] = str(candidate.class_number)
        sample = Sample.of_image(
            candidate.data, facts.media_type, captions, id=candidate.id, metadata=metadata
        )
        if candidate.questions:
            sample = replace(sample, segments=_asked(sample.segments[-1], candidate.questions))
        self.counts["written"] += 1
        self.counts["captions"] += len(captions)
        self.counts["questions"] += len(candidate.questions)
        self.counts[f"bucket_{bucket}"] += 1
        if candidate.split:
            self._emit(candidate.split, sample)
        else:
            self._num_hashed += 1
            self._splitter.add(sample)

    def _leave_out(self, identity: str, error: VermeilError) -> None:
        if self._ingestion.bad_files == "refuse":
            raise error
        self.counts[error.metadata.get("problem", "unreadable")] += 1
        if len(self.skipped) < MAX_SKIPPED:
            self.skipped.append(Skipped(identity, error.message))

    def _nothing(self) -> InvalidInput:
        left_out = ", ".join(f"{self.counts[name]} {name}" for name in (*FILTERED, *BAD) if self.counts[name])
        example = f"; for example {self.skipped[0].id}: {self.skipped[0].reason}" if self.skipped else ""
        return InvalidInput(
            f"has no usable picture among {self.counts['files_found']}: {left_out or 'none at all'}{example}",
            field=", ".join(map(source_name, self._ingestion.sources)),
            fix="point at pictures, IDX, .tar or .parquet files",
        )


def _asked(picture: Segment, questions: Sequence[Question]) -> tuple[Segment, ...]:
    """A picture with all its questions: one sample while splits are told apart, so that none share it."""
    segments = [replace(picture, role="given")]
    for question in questions:
        segments += Segment("text", "given", text=question.text), Segment("text", text=question.answer)
    return tuple(segments)


def _emit_each(emit: Callable[[str, Sample], None], split: str, sample: Sample) -> None:
    """The sample; of a picture with questions one for each, with #number behind its id."""
    picture, *rest = sample.segments
    if picture.modality != "image" or picture.role != "given":
        emit(split, sample)
        return
    pairs = zip(rest[::2], rest[1::2], strict=True)
    for number, pair in enumerate(pairs, 1):
        emit(split, replace(sample, segments=(picture, *pair), id=f"{sample.id}#{number}"))
