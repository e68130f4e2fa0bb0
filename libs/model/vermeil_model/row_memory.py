"""Rows of a cache that grow with what they hold, never beyond a number of tokens in all.

Rows are as long as the longest of them needs to be: what a step multiplies lies dense, which on CPUs is
twice as quick as going through blocks. So memory is rows in use times the longest, and none while idle.
"""

from __future__ import annotations

from collections.abc import Callable

from vermeil_model.cache import DecodingCache

STRIDE = 64
"""Tokens by which rows grow."""


class RowMemory:
    """The rows of running sequences.

    Args:
        make: An empty cache of so many rows and so many tokens.
        most_rows: Sequences at once.
        capacity: Most tokens of one sequence.
        most_bytes: Of keys and values; at least one sequence of full length always fits.
    """

    def __init__(
        self,
        make: Callable[[int, int], DecodingCache],
        most_rows: int,
        capacity: int,
        most_bytes: int | None,
    ) -> None:
        self._make = make
        self._most_rows, self.capacity = most_rows, capacity
        bytes_each = make(1, 1).num_bytes
        most_tokens = most_rows * capacity if most_bytes is None else most_bytes // bytes_each
        self._most_tokens = max(capacity, most_tokens)
        self.cache = make(1, min(STRIDE, capacity))

    def fits(self, num_rows: int, length: int) -> bool:
        """Whether there can be so many rows, the longest of them of this length."""
        return num_rows <= self._most_rows and num_rows * self._rounded(length) <= self._most_tokens

    def reserve(self, num_rows: int, length: int) -> None:
        """Make room for what fits; what rows hold is kept."""
        if num_rows <= len(self.cache.lengths) and length <= self.cache.capacity:
            return
        length = self._rounded(length)
        twice = 1 << (num_rows - 1).bit_length()
        grown = self._make(min(twice, self._most_rows, self._most_tokens // length), length)
        grown.copy_rows(self.cache, min(num_rows, len(self.cache.lengths)))
        self.cache = grown

    def clear(self) -> None:
        """Give the memory back; no row holds anything any more."""
        self.cache = self._make(1, min(STRIDE, self.capacity))

    def _rounded(self, length: int) -> int:
        return min(-(-length // STRIDE) * STRIDE, self.capacity)
