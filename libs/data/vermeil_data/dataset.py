"""Reading a raw dataset: a lazy sequence of samples for each split, memory-mapped."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
from vermeil_errors import DataCorrupted, NotFound

from vermeil_data.card import DatasetCard, SplitCard, load_card
from vermeil_data.sample import Sample
from vermeil_data.shard import ShardReader, file_sha256, from_batch


class Split(Sequence[Sample]):
    """The samples of one split; nothing is read before it is asked for."""

    def __init__(self, shards: Sequence[ShardReader]) -> None:
        self._shards = shards
        self._starts = np.concatenate(([0], np.cumsum([len(shard) for shard in shards], dtype=np.int64)))

    def __len__(self) -> int:
        return int(self._starts[-1])

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        shard = int(np.searchsorted(self._starts, position, side="right")) - 1
        return self._shards[shard][position - int(self._starts[shard])]

    def __iter__(self) -> Iterator[Sample]:
        for batch in self.batches():
            yield from from_batch(batch)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Arrow record batches, a few megabytes each."""
        for shard in self._shards:
            yield from shard.batches()


class Dataset:
    """A raw dataset folder, opened for reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card: DatasetCard = load_card(folder, "raw")

    @cached_property
    def _splits(self) -> dict[str, Split]:
        return {
            name: Split([ShardReader(self.folder / shard.path) for shard in split.shards])
            for name, split in self.card.splits.items()
        }

    def split(self, name: str) -> Split:
        """One split by name: train, validation, …"""
        self.split_card(name)
        return self._splits[name]

    def split_card(self, name: str) -> SplitCard:
        """What the card says of a split."""
        if name not in self.card.splits:
            raise no_such_split(name, self.card)
        return self.card.splits[name]

    def verify(self) -> None:
        """Read every byte again; the first shard that differs from the card is named."""
        verify_shards(self.folder, self.card)


def open_dataset(folder: Path) -> Dataset:
    """Open a raw dataset folder."""
    return Dataset(folder)


def no_such_split(name: str, card: DatasetCard) -> NotFound:
    """The error for a split that a dataset does not have."""
    return NotFound(
        f"dataset {card.name!r} has no split {name!r}",
        fix=f"it has {', '.join(sorted(card.splits)) or 'none'}",
    )


def verify_shards(folder: Path, card: DatasetCard) -> None:
    """Compare size and sha256 of every shard with the card."""
    for split in card.splits.values():
        for shard in split.shards:
            path = folder / shard.path
            if not path.is_file():
                raise DataCorrupted("a shard named by the data card is missing", field=str(path))
            if path.stat().st_size != shard.num_bytes or file_sha256(path) != shard.sha256:
                raise DataCorrupted("its bytes are not what was written", field=str(path))
