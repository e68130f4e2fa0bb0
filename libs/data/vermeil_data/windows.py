"""Windows of tokens by their number, many at once: the n-th window is a function of n and the seed.

Letters: R windows, T context length, N tokens, D documents. Knows no batches, ranks or state.
"""

# ruff: noqa: N815

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from vermeil_data.encoded import TokenArrays, TokenIds
from vermeil_data.shuffle import hashed, permutation

IGNORED = -100
"""Target that is not learned; what cross-entropy ignores by default."""

Int64s = npt.NDArray[np.int64]


class Windows(NamedTuple):
    """R windows."""

    tokens_RT: Int64s
    targets_RT: Int64s
    """The next token of each, or -100."""
    documents_RT: Int64s | None
    """Equal numbers where tokens are of one document; None where windows know no documents."""


class WindowSource(Protocol):
    """An endless row of windows, addressed by number."""

    num_windows: int
    """Windows in an epoch."""

    def read(self, numbers_R: Int64s) -> Windows:
        """The windows of these numbers."""


class RandomWindows:
    """Windows anywhere in the split, across documents, as nanoGPT draws them."""

    def __init__(self, arrays: TokenArrays, context_length: int, seed: int) -> None:
        self._slices = _slices(arrays.ids_N, context_length)
        self._seed = seed
        self.num_windows = max(1, len(arrays.ids_N) // context_length)

    def read(self, numbers_R: Int64s) -> Windows:
        """Draw windows; each number always draws the same one."""
        starts_R = (hashed(numbers_R, self._seed) % np.uint64(len(self._slices))).astype(np.int64)
        return _shifted(self._slices[starts_R], None)


class PackedWindows:
    """Every token is a target once an epoch: shuffled documents end to end, cut into shuffled windows.

    The end is joined to the beginning and the first cut moves with the epoch. What is left to fill
    of the last window has targets -100.
    """

    def __init__(self, arrays: TokenArrays, context_length: int, seed: int) -> None:
        self._arrays = arrays
        self._context_length = context_length
        self._seed = seed
        self._epochs: dict[int, _Epoch] = {}
        self.num_windows = -(-len(arrays.ids_N) // context_length)

    def read(self, numbers_R: Int64s) -> Windows:
        """The windows of these numbers, which may lie in several epochs."""
        epochs_R, within_R = np.divmod(numbers_R, self.num_windows)
        first, last = int(epochs_R.min()), int(epochs_R.max())
        if first == last:
            return self._epoch(first).read(within_R)
        parts = [self._epoch(epoch).read(within_R[epochs_R == epoch]) for epoch in range(first, last + 1)]
        order = np.argsort(np.argsort(epochs_R, kind="stable"))
        tokens, targets, documents = (
            np.concatenate([part[axis] for part in parts])[order] for axis in range(3)
        )
        return Windows(tokens, targets, documents)

    def _epoch(self, number: int) -> "_Epoch":
        if number not in self._epochs:
            # Windows are read in order, so at most two epochs are alive.
            self._epochs = {old: plan for old, plan in self._epochs.items() if old >= number - 1}
            self._epochs[number] = _Epoch(self._arrays, self._context_length, self._seed, number)
        return self._epochs[number]


class _Epoch:
    """One order of documents and windows."""

    def __init__(self, arrays: TokenArrays, context_length: int, seed: int, number: int) -> None:
        self._ids_N, offsets = arrays
        self._context_length = context_length
        num_tokens = len(self._ids_N)
        self._slices = _slices(self._ids_N, context_length) if num_tokens > context_length else None
        order_D = permutation(len(offsets) - 1, seed, number, 0)
        # The ring is walked at most context_length + 1 beyond its end: lay that much of it out again.
        lengths_D = np.diff(offsets)[order_D]
        starts = np.concatenate(([0], np.cumsum(lengths_D)))
        laps = 2 + context_length // num_tokens
        beyond = int(np.searchsorted(starts, context_length + 1)) if laps == 2 else len(order_D) * (laps - 1)
        self._documents = np.concatenate((order_D, np.resize(order_D, beyond)))
        self._starts = np.concatenate(
            ([0], np.cumsum(np.concatenate((lengths_D, np.resize(lengths_D, beyond)))))
        )
        self._shift = offsets[self._documents] - self._starts[:-1]
        self._cut = int(hashed(np.zeros(1, np.int64), seed, number, 1)[0] % np.uint64(num_tokens))
        self._order = permutation(-(-num_tokens // context_length), seed, number, 2)

    def read(self, within_R: Int64s) -> Windows:
        """Windows by their number within the epoch."""
        length, num_tokens = self._context_length, len(self._ids_N)
        places_R = self._order[within_R] * length
        starts_R = (places_R + self._cut) % num_tokens
        first_R = np.searchsorted(self._starts, starts_R, side="right") - 1
        last_R = np.searchsorted(self._starts, starts_R + length, side="right") - 1
        several_M = np.flatnonzero(first_R != last_R)
        if self._slices is None or 4 * len(several_M) > len(starts_R):
            at_RT1, documents_RT = self._scattered(starts_R, first_R, last_R)
            ids_RT1 = self._ids_N[at_RT1]
        else:
            # Mostly windows within one document: a plain copy each; the few others are pieced together.
            at_R = np.minimum(starts_R + self._shift[first_R], len(self._slices) - 1)
            ids_RT1 = self._slices[at_R]
            documents_RT = np.repeat(self._documents[first_R], length).reshape(-1, length)
            at_MT1, documents_RT[several_M] = self._scattered(
                starts_R[several_M], first_R[several_M], last_R[several_M]
            )
            ids_RT1[several_M] = self._ids_N[at_MT1]
        windows = _shifted(ids_RT1, documents_RT)
        over = int(places_R.max()) + length - num_tokens
        if over > 0:
            windows.targets_RT[int(places_R.argmax()), length - over :] = IGNORED
        return windows

    def _scattered(self, starts_R: Int64s, first_R: Int64s, last_R: Int64s) -> tuple[Int64s, Int64s]:
        """Where the tokens of windows over several documents lie: piece by piece, all windows at once."""
        length = self._context_length
        pieces_R = last_R - first_R + 1
        rows_P = np.repeat(np.arange(len(starts_R)), pieces_R)
        within_P = np.arange(len(rows_P)) - np.repeat(np.cumsum(pieces_R) - pieces_R, pieces_R)
        documents_P = first_R[rows_P] + within_P
        begin_P = np.maximum(self._starts[documents_P], starts_R[rows_P])
        end_P = np.minimum(self._starts[documents_P + 1], starts_R[rows_P] + length + 1)
        sizes_P = end_P - begin_P
        shape = (len(starts_R), length + 1)
        at_RT1 = np.repeat(self._shift[documents_P], sizes_P).reshape(shape)
        at_RT1 += starts_R[:, None] + np.arange(length + 1)
        documents_RT1 = np.repeat(self._documents[documents_P], sizes_P).reshape(shape)
        return at_RT1, documents_RT1[:, :-1]


def _slices(ids_N: TokenIds, length: int) -> TokenIds:
    """A view: row i is the length + 1 tokens from i on."""
    return np.lib.stride_tricks.sliding_window_view(ids_N, length + 1)


def _shifted(ids_RT1: TokenIds, documents_RT: Int64s | None) -> Windows:
    return Windows(ids_RT1[:, :-1].astype(np.int64), ids_RT1[:, 1:].astype(np.int64), documents_RT)
