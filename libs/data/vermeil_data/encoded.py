"""An encoded dataset: for each split one flat array of token ids, memory-mapped, and where documents begin.

A split is one file with one record batch, so that its ids are contiguous however large it is.
"""

# ruff: noqa: N815

from array import array
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from vermeil_errors import DataCorrupted

from vermeil_data.card import DatasetCard, ShardCard, TokenizerCard, load_card
from vermeil_data.dataset import no_such_split, verify_shards
from vermeil_data.shard import file_sha256, open_arrow, shard_card
from vermeil_data.tokenizer import TOKENIZER_FILE, TextTokenizer

TokenIds = npt.NDArray[np.unsignedinteger[Any]]
"""uint16 where the vocabulary fits, else uint32."""


class TokenArrays(NamedTuple):
    """The tokens of a split. N tokens, D documents."""

    ids_N: TokenIds
    """Every document begins with <bos>; read-only view of the file."""
    offsets: npt.NDArray[np.int64]
    """D + 1 positions: document d is ids_N[offsets[d] : offsets[d + 1]]."""


class EncodedDataset:
    """An encoded dataset folder, opened for reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card: DatasetCard = load_card(folder, "encoded")
        self._batches: dict[str, pa.RecordBatch] = {}

    @property
    def vocab_size(self) -> int:
        """Entries of the tokenizer, with special tokens."""
        return self._tokenizer_card.vocab_size

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer that made the ids."""
        return TextTokenizer.load(self.folder)

    def tokens(self, split: str) -> TokenArrays:
        """All ids of a split and where its documents begin."""
        column = self._batch(split).column("tokens")
        return TokenArrays(
            column.values.to_numpy(zero_copy_only=True), column.offsets.to_numpy(zero_copy_only=True)
        )

    def document_bytes(self, split: str) -> npt.NDArray[np.int64]:
        """UTF-8 bytes of the text of each document: what bits per byte are counted by."""
        sizes: npt.NDArray[np.int64] = self._batch(split).column("num_bytes").to_numpy(zero_copy_only=True)
        return sizes

    def verify(self) -> None:
        """Read every byte again; the first file that differs from the card is named."""
        verify_shards(self.folder, self.card)
        path = self.folder / TOKENIZER_FILE
        if not path.is_file() or file_sha256(path) != self._tokenizer_card.sha256:
            raise DataCorrupted("its bytes are not what was written", field=str(path))

    @property
    def _tokenizer_card(self) -> TokenizerCard:
        if self.card.tokenizer is None:
            raise DataCorrupted(
                "the data card of an encoded dataset names no tokenizer", field=str(self.folder)
            )
        return self.card.tokenizer

    def _batch(self, split: str) -> pa.RecordBatch:
        if split not in self.card.splits:
            raise no_such_split(split, self.card)
        if split not in self._batches:
            (shard,) = self.card.splits[split].shards
            self._batches[split] = open_arrow(self.folder / shard.path).get_batch(0)
        return self._batches[split]


def open_encoded(folder: Path) -> EncodedDataset:
    """Open an encoded dataset folder."""
    return EncodedDataset(folder)


class TokenWriter:
    """Writes one split: ids go to a scratch file as they come, and from there, mapped, into the shard."""

    def __init__(self, folder: Path, split: str, vocab_size: int) -> None:
        self._path = folder / f"{split}-00000.arrow"
        self._scratch = folder / f".{split}.tokens"
        self._dtype = np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)
        self._file = self._scratch.open("wb")
        self._lengths = array("q")
        self._bytes = array("q")

    def add(self, documents: Sequence[npt.NDArray[np.uint32]], num_bytes: Sequence[int]) -> None:
        """Append documents, and the sizes of their texts."""
        self._file.write(np.concatenate(documents).astype(self._dtype).tobytes())
        self._lengths.extend(len(ids) for ids in documents)
        self._bytes.extend(num_bytes)

    def finish(self) -> tuple[ShardCard, int]:
        """Write the shard; its card and the number of tokens."""
        self._file.close()
        offsets = np.concatenate(([0], np.cumsum(np.asarray(self._lengths))))
        with pa.memory_map(str(self._scratch)) as scratch:
            values = pa.Array.from_buffers(
                pa.from_numpy_dtype(self._dtype), int(offsets[-1]), [None, scratch.read_buffer()]
            )
            columns = [pa.LargeListArray.from_arrays(offsets, values), pa.array(np.asarray(self._bytes))]
            batch = pa.RecordBatch.from_arrays(columns, names=["tokens", "num_bytes"])
            with pa.ipc.new_file(str(self._path), batch.schema) as writer:
                writer.write_batch(batch)
            del values, columns, batch
        self._scratch.unlink()
        return shard_card(self._path, len(self._lengths)), int(offsets[-1])

    def close(self) -> None:
        """Forget what was not finished."""
        self._file.close()
        self._scratch.unlink(missing_ok=True)
