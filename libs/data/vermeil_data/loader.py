"""Batches of text for training. Letters: B rows, T context length."""

# ruff: noqa: N815

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from vermeil_errors import InvalidInput

from vermeil_data.encoded import EncodedDataset
from vermeil_data.resumable import ResumableLoader, Standing, check_rows, moved
from vermeil_data.windows import IGNORED, PackedWindows, RandomWindows, Windows, WindowSource

Mode = Literal["random", "packed"]
_CHUNK_TOKENS = 1 << 15
"""Tokens read at once and handed out in slices: Python's part shrinks. Above 256 KiB an array, memory
freshly mapped for each chunk made reading 2 to 5 times slower."""


class Batch(NamedTuple):
    """One step's rows on the CPU, contiguous int64."""

    tokens_BT: torch.Tensor
    targets_BT: torch.Tensor
    """The next token of each; -100 where there is nothing to learn."""
    documents_BT: torch.Tensor | None
    """Equal numbers where tokens are of one document; packed mode only."""

    @property
    def num_items(self) -> int:
        """Tokens."""
        return self.tokens_BT.numel()

    @property
    def num_targets(self) -> torch.Tensor:
        """Tokens from which something is learned."""
        return (self.targets_BT != IGNORED).sum()

    def to(self, device: torch.device) -> "Batch":
        """The same on another device, copied while the CPU goes on."""
        return Batch(*(moved(part, device) for part in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class LoaderState(Standing):
    """Where a loader stands; its position counts windows."""

    split: str
    mode: Mode
    seed: int
    context_length: int
    num_tokens: int
    """Of the split: a guard against resuming on other data."""


class Loader(ResumableLoader[Batch, LoaderState]):
    """Endless batches of one split."""

    def __init__(
        self,
        encoded: EncodedDataset,
        split: str,
        context_length: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        mode: Mode = "random",
    ) -> None:
        """`batch_size` counts rows of this rank."""
        arrays = encoded.tokens(split)
        if mode not in ("random", "packed"):
            raise InvalidInput.for_field("mode", mode, "is unknown", "choose random or packed")
        # Packed windows go round: they may be longer than the split.
        needed = context_length + 1 if mode == "random" else 2
        _check(split, len(arrays.ids_N), needed, context_length, batch_size, rank, world_size)
        source = RandomWindows if mode == "random" else PackedWindows
        self._source: WindowSource = source(arrays, context_length, seed)
        start = LoaderState(0, split, mode, seed, context_length, len(arrays.ids_N))
        super().__init__(start, batch_size, rank, world_size)
        self._steps = max(1, _CHUNK_TOKENS // (batch_size * context_length))

    @property
    def windows_per_epoch(self) -> int:
        """Windows in which every token is a target once, over all ranks."""
        return self._source.num_windows

    @property
    def batches_per_epoch(self) -> int:
        """Steps in which the ranks together read one epoch, the last one begun counted whole."""
        return -(-self._source.num_windows // self._stride)

    def _chunk(self) -> Iterator[Batch]:
        rows = self._rows
        first_S = self._position + np.arange(self._steps) * self._stride + self._rank * rows
        windows = self._source.read((first_S[:, None] + np.arange(rows)).ravel())
        return _slices(windows, rows)


def _slices(windows: Windows, rows: int) -> Iterator[Batch]:
    tokens, targets, documents = (
        None if array is None else torch.split(torch.from_numpy(np.ascontiguousarray(array)), rows)
        for array in windows
    )
    assert tokens is not None
    assert targets is not None
    for index in range(len(tokens)):
        yield Batch(tokens[index], targets[index], None if documents is None else documents[index])


def _check(
    split: str,
    num_tokens: int,
    needed: int,
    context_length: int,
    batch_size: int,
    rank: int,
    world_size: int,
) -> None:
    check_rows("batch_size", batch_size, rank, world_size)
    if context_length < 1 or num_tokens < needed:
        raise InvalidInput.for_field(
            "context_length",
            context_length,
            f"does not fit into the {num_tokens:,} tokens of split {split!r}",
            "use more text, a larger validation fraction or a shorter context",
        )
