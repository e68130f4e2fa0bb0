"""What was read lately, in blocks of tokens, found again by what these tokens and all before them are.

A sequence that begins like another takes the keys and values of whole blocks from here instead of reading
them. Blocks are copies: nobody holds one longer than it takes to copy it, so any may be let go of at any
time, the least recently used first. It knows nothing of layers or heads.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor

BLOCK = 16
"""Tokens of a block."""


class PrefixPool:
    """Blocks of keys and values within a number of bytes; with 0 it keeps none."""

    def __init__(self, most_bytes: int = 0) -> None:
        self._most_bytes = most_bytes
        self._blocks: OrderedDict[bytes, Tensor] = OrderedDict()
        self.num_bytes = 0

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all."""
        return self._most_bytes > 0

    def find(self, names: Sequence[bytes]) -> list[Tensor]:
        """The blocks from the first on, up to the first that is not here."""
        found = []
        for name in names:
            if name not in self._blocks:
                break
            found.append(self._blocks[name])
        for name in reversed(names[: len(found)]):
            self._blocks.move_to_end(name)
        return found

    def keep(self, names: Sequence[bytes], cut: Callable[[int], Tensor]) -> None:
        """Take up all blocks of a sequence; `cut` copies one by its place.

        A block is of use only with those before it, so the last ones are let go of first.
        """
        for place in reversed(range(len(names))):
            name = names[place]
            if name not in self._blocks:
                block = self._blocks[name] = cut(place)
                self.num_bytes += block.nbytes
            self._blocks.move_to_end(name)
        while self.num_bytes > self._most_bytes:
            _, block = self._blocks.popitem(last=False)
            self.num_bytes -= block.nbytes


def name_blocks(names: list[bytes], tokens: Sequence[int], num_tokens: int, root: bytes = b"") -> list[bytes]:
    """The names of all whole blocks of the first `num_tokens`; `names` are known ones and grow.

    Only sequences of the same `root` have names in common.
    """
    for place in range(len(names), num_tokens // BLOCK):
        own = array("q", tokens[place * BLOCK : (place + 1) * BLOCK]).tobytes()
        before = names[-1] if names else root
        names.append(hashlib.sha256(before + own).digest())
    return names[: num_tokens // BLOCK]
