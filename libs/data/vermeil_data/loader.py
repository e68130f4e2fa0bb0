"""Batches for training: a function of the data, the seed and a position, so resuming is exact.

Letters: B rows, T context length. Every rank reads its own rows of the same global batch: with W
ranks of B rows, the union is what one rank of W * B rows would read.
"""

# ruff: noqa: N815

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from vermeil_errors import Conflict, InvalidInput

from vermeil_data.encoded import EncodedDataset
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
        if device.type == "cpu":
            return self
        return Batch(
            *(None if part is None else part.pin_memory().to(device, non_blocking=True) for part in self)  # type: ignore[arg-type]
        )


@dataclass(frozen=True)
class LoaderState:
    """Where a loader stands, as plain JSON values."""

    position: int
    """Windows handed out so far, on all ranks together."""
    split: str
    mode: Mode
    seed: int
    context_length: int
    num_tokens: int
    """Of the split: a guard against resuming on other data."""

    def to_dict(self) -> dict[str, int | str]:
        """For json.dumps."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """From json.loads."""
        try:
            return cls(**values)  # type: ignore[arg-type]
        except TypeError as error:
            raise InvalidInput(f"is not the state of a loader: {error}", field="loader") from error


class Loader(Iterator[Batch]):
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
        self._state = LoaderState(0, split, mode, seed, context_length, len(arrays.ids_N))
        self._position = 0
        self._batch_size, self._rank, self._world_size = batch_size, rank, world_size
        self._steps = max(1, _CHUNK_TOKENS // (batch_size * context_length))
        self._ready: Iterator[Batch] = iter(())

    @property
    def windows_per_epoch(self) -> int:
        """Windows in which every token is a target once, over all ranks."""
        return self._source.num_windows

    @property
    def batches_per_epoch(self) -> int:
        """Steps in which the ranks together read one epoch, the last one begun counted whole."""
        return -(-self._source.num_windows // (self._batch_size * self._world_size))

    def __next__(self) -> Batch:
        batch = next(self._ready, None)
        if batch is None:
            self._ready = self._chunk()
            batch = next(self._ready)
        self._position += self._batch_size * self._world_size
        return batch

    def state(self) -> LoaderState:
        """Everything needed to go on after the last batch handed out."""
        return LoaderState(**{**asdict(self._state), "position": self._position})

    def restore(self, state: LoaderState) -> None:
        """Go on where `state` was taken; refused where data or settings differ."""
        for name, mine in asdict(self._state).items():
            theirs = getattr(state, name)
            if name != "position" and theirs != mine:
                raise Conflict(f"the checkpoint's loader had {name} {theirs!r}, this one has {mine!r}")
        self._position = state.position
        self._ready = iter(())

    def _chunk(self) -> Iterator[Batch]:
        """The batches of the next steps, read at once."""
        rows = self._batch_size
        first_S = self._position + np.arange(self._steps) * (rows * self._world_size) + self._rank * rows
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
    if batch_size < 1:
        raise InvalidInput.for_field("batch_size", batch_size, "must be at least 1")
    if not 0 <= rank < world_size:
        raise InvalidInput.for_field("rank", rank, f"must be 0 to {world_size - 1}")
    if context_length < 1 or num_tokens < needed:
        raise InvalidInput.for_field(
            "context_length",
            context_length,
            f"does not fit into the {num_tokens:,} tokens of split {split!r}",
            "use more text, a larger validation fraction or a shorter context",
        )
