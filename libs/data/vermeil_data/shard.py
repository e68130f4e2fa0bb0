"""Shards of raw samples: Arrow IPC files that are memory-mapped, so opening costs nothing.

Writing keeps one record batch in memory. The same samples give the same bytes.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from vermeil_errors import DataCorrupted

from vermeil_data.card import ShardCard
from vermeil_data.sample import Sample, Segment

_SEGMENT = pa.struct(
    [
        ("modality", pa.string()),
        ("role", pa.string()),
        ("text", pa.large_string()),
        ("data", pa.large_binary()),
        ("media_type", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("segments", pa.list_(_SEGMENT)),
        ("metadata", pa.map_(pa.string(), pa.string())),
    ]
)


def to_batch(samples: Sequence[Sample]) -> pa.RecordBatch:
    """Samples as one Arrow record batch."""
    segments = [[vars(segment) for segment in sample.segments] for sample in samples]
    columns = [
        pa.array([sample.id for sample in samples], pa.string()),
        pa.array(segments, SCHEMA.field("segments").type),
        pa.array([sorted(sample.metadata.items()) for sample in samples], SCHEMA.field("metadata").type),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def from_batch(batch: pa.RecordBatch) -> Iterator[Sample]:
    """The samples of a record batch."""
    for row in batch.to_pylist():
        yield Sample(
            tuple(Segment(**segment) for segment in row["segments"]), row["id"], dict(row["metadata"])
        )


class ShardReader:
    """One shard, memory-mapped; a lazy sequence of samples."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_arrow(path)
        sizes = [batch.num_rows for batch in self.batches()]
        self._starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Sample:
        batch = int(np.searchsorted(self._starts, index, side="right")) - 1
        row = self._file.get_batch(batch).slice(index - int(self._starts[batch]), 1)
        return next(from_batch(row))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Record batches as they were written, a few megabytes each."""
        for index in range(self._file.num_record_batches):
            yield self._file.get_batch(index)


def open_arrow(path: Path) -> Any:
    """Map an Arrow IPC file into memory."""
    try:
        return pa.ipc.open_file(pa.memory_map(str(path)))
    except FileNotFoundError as error:
        raise DataCorrupted("a shard named by the data card is missing", field=str(path)) from error
    except pa.ArrowInvalid as error:
        raise DataCorrupted(f"is not a whole Arrow file: {error}", field=str(path)) from error


def shard_card(path: Path, num_samples: int) -> ShardCard:
    """Describe a finished file."""
    return ShardCard(path.name, num_samples, path.stat().st_size, file_sha256(path))


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file, read once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
