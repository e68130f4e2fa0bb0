"""Dividing samples into train and validation, as a stream and deterministically.

By document: a sample goes where the hash of its content says, so it stays there when others come or
go. By position: the end of every document is kept for validation, as nanoGPT does. The first
documents wait on disk until it is known which of the two it is.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
from vermeil_errors import InvalidInput

from vermeil_data.sample import Sample
from vermeil_data.shard import SCHEMA, from_batch, to_batch

SplitBy = Literal["auto", "document", "position"]
TRAIN = "train"
VALIDATION = "validation"
MIN_DOCUMENTS = 20
"""From this many different documents on, `auto` means `document`."""


class Splitter:
    """Passes every sample on to `emit(split, sample)`; `finish` lets go of those that still wait."""

    def __init__(
        self,
        emit: Callable[[str, Sample], None],
        *,
        validation_fraction: float,
        by: SplitBy,
        spool: Path,
    ) -> None:
        if not 0 <= validation_fraction <= 0.5:
            raise InvalidInput.for_field(
                "validation_fraction", validation_fraction, "is out of range", "choose 0 to 0.5"
            )
        self._emit = emit
        self._fraction = validation_fraction
        self._by: SplitBy = "document" if validation_fraction == 0 else by
        self._spool = _Spool(spool)
        self._waiting: dict[bytes, float] = {}
        self._fixed: dict[bytes, str] = {}
        self._decided = validation_fraction == 0 or by == "position"

    @property
    def by(self) -> SplitBy:
        """How samples are divided; `auto` until that is known."""
        return self._by

    def add(self, sample: Sample) -> None:
        """Take one more sample."""
        if self._decided:
            self._pass_on(sample)
            return
        self._spool.add(sample)
        self._waiting[sample.digest] = _place(sample.digest)
        if len(self._waiting) >= MIN_DOCUMENTS:
            self._decide("document")

    def finish(self) -> None:
        """No more samples will come."""
        if not self._decided:
            self._decide("position" if self._by == "auto" else self._by)
        self._spool.remove()

    def _decide(self, by: SplitBy) -> None:
        self._by, self._decided = by, True
        if by == "document":
            if len(self._waiting) < 2:
                raise InvalidInput.for_field(
                    "split_by", by, "needs at least two different documents", "split by position"
                )
            # Neither split may come out empty, however the hashes fall.
            self._fixed[min(self._waiting, key=self._waiting.__getitem__)] = VALIDATION
            self._fixed[max(self._waiting, key=self._waiting.__getitem__)] = TRAIN
        for sample in self._spool:
            self._pass_on(sample)
        self._waiting.clear()

    def _pass_on(self, sample: Sample) -> None:
        if self._fraction == 0:
            self._emit(TRAIN, sample)
        elif self._by == "document":
            digest = sample.digest
            hashed = VALIDATION if _place(digest) < self._fraction else TRAIN
            self._emit(self._fixed.get(digest, hashed), sample)
        else:
            for split, part in self._parts(sample):
                self._emit(split, part)

    def _parts(self, sample: Sample) -> Iterator[tuple[str, Sample]]:
        if len(sample.segments) != 1 or sample.segments[0].text is None:
            raise InvalidInput(
                "only samples of one text can be split by position", field=sample.id, fix="split by document"
            )
        segment, text = sample.segments[0], sample.text
        cut = int(len(text) * (1 - self._fraction))
        for split, part in ((TRAIN, text[:cut]), (VALIDATION, text[cut:])):
            if part:
                yield split, replace(sample, segments=(replace(segment, text=part),))


def _place(digest: bytes) -> float:
    """A number from 0 to 1 that depends on the content alone."""
    return int.from_bytes(digest[:8], "big") / 2**64


class _Spool:
    """Samples that wait, on disk: a document may have a gigabyte."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None

    def add(self, sample: Sample) -> None:
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pa.ipc.new_stream(str(self._path), SCHEMA)
        self._writer.write_batch(to_batch([sample]))

    def __iter__(self) -> Iterator[Sample]:
        if self._writer is None:
            return
        self._writer.close()
        with pa.memory_map(str(self._path)) as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                yield from from_batch(batch)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
