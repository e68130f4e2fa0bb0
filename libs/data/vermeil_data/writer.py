"""Writing a raw dataset as a stream: never more than one record batch of each split in memory."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from vermeil_data.card import DatasetCard, ShardCard, Skipped, SplitCard
from vermeil_data.sample import Sample
from vermeil_data.shard import SCHEMA, shard_card, to_batch

SHARD_BYTES = 256 << 20
"""A shard is closed once it holds this much content."""
_BATCH_BYTES = 4 << 20
_BATCH_SAMPLES = 4096


class DatasetWriter:
    """Writes `{split}-{number}.arrow` files and, at the end, dataset.json.

    Used as a context manager it closes its files also when something goes wrong; without `finish`
    there is no card, so a half-written folder is never taken for a dataset.
    """

    def __init__(self, folder: Path, *, shard_bytes: int = SHARD_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._splits: dict[str, _SplitWriter] = {}

    def add(self, split: str, sample: Sample) -> None:
        """Append one sample to a split."""
        if split not in self._splits:
            self._splits[split] = _SplitWriter(self._folder, split, self._shard_bytes)
        self._splits[split].add(sample)

    def finish(
        self,
        name: str,
        *,
        source: str = "",
        licence: str = "",
        counts: Mapping[str, int] | None = None,
        skipped: Sequence[Skipped] = (),
    ) -> DatasetCard:
        """Close the shards, hash them and write the card."""
        splits = {split: writer.finish() for split, writer in sorted(self._splits.items())}
        card = DatasetCard(name, "raw", splits, source, licence, dict(counts or {}), tuple(skipped))
        card.save(self._folder)
        return card

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._splits.values():
            writer.close()


class _SplitWriter:
    def __init__(self, folder: Path, split: str, shard_bytes: int) -> None:
        self._folder = folder
        self._split = split
        self._shard_bytes = shard_bytes
        self._shards: list[ShardCard] = []
        self._pending: list[Sample] = []
        self._pending_bytes = 0
        self._file: Any = None
        self._path = folder
        self._file_bytes = self._file_samples = 0
        self._num_samples = self._num_characters = self._num_bytes = 0

    def add(self, sample: Sample) -> None:
        num_bytes = 0
        for segment in sample.segments:
            text = segment.text or ""
            self._num_characters += len(text)
            num_bytes += len(text.encode()) + len(segment.data or b"")
        self._num_samples += 1
        self._num_bytes += num_bytes
        self._pending.append(sample)
        self._pending_bytes += num_bytes
        if self._pending_bytes >= _BATCH_BYTES or len(self._pending) >= _BATCH_SAMPLES:
            self._flush()

    def finish(self) -> SplitCard:
        self._flush()
        self._end_shard()
        return SplitCard(self._num_samples, self._num_characters, self._num_bytes, tuple(self._shards))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _flush(self) -> None:
        if not self._pending:
            return
        if self._file is None:
            self._path = self._folder / f"{self._split}-{len(self._shards):05d}.arrow"
            self._file = pa.ipc.new_file(str(self._path), SCHEMA)
        self._file.write_batch(to_batch(self._pending))
        self._file_bytes += self._pending_bytes
        self._file_samples += len(self._pending)
        self._pending, self._pending_bytes = [], 0
        if self._file_bytes >= self._shard_bytes:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._file is None:
            return
        self.close()
        self._shards.append(shard_card(self._path, self._file_samples))
        self._file_bytes = self._file_samples = 0


def write_dataset(
    folder: Path, samples: Mapping[str, Iterable[Sample]], name: str, *, source: str = "", licence: str = ""
) -> DatasetCard:
    """Write all splits of a dataset from iterables."""
    with DatasetWriter(folder) as writer:
        for split, of_split in samples.items():
            for sample in of_split:
                writer.add(split, sample)
        return writer.finish(name, source=source, licence=licence)
