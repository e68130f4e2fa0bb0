"""What has been read before, so that nobody reads it again: ended conversations, the last ones kept.

Prompts are told apart by their marks, pictures by their pixels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vermeil_model.fused_memory import Memory
from vermeil_model.talk import Mark, num_pictures


class Read(NamedTuple):
    """A row of a memory, and what it has read."""

    marks: Sequence[Mark]
    """One a token; there may be more than have been read."""
    memory: Memory
    row: int


class ReadBefore:
    """Keeps so many bytes of conversations that have ended, the last ones."""

    def __init__(self, kept_bytes: int, begin_mark: int) -> None:
        self._kept: deque[Read] = deque()
        self._kept_bytes = kept_bytes
        self._begin_mark = begin_mark

    @property
    def num_bytes(self) -> int:
        """What is kept."""
        return sum(read.memory.num_bytes for read in self._kept)

    def keep(self, read: Read) -> None:
        """Keep a copy of it instead of those that have read only its beginning."""
        if not self._kept_bytes:
            return
        marks = list(read.marks[: read.memory.num_tokens[read.row]])
        self._kept = deque(kept for kept in self._kept if kept.marks != marks[: len(kept.marks)])
        self._kept.append(Read(marks, read.memory.rows([read.row]), 0))
        while self.num_bytes > self._kept_bytes:
            self._kept.popleft()

    def most_of(self, marks: Sequence[Mark], running: Iterable[Read]) -> Memory | None:
        """A memory of what a prompt begins with, as far as it, but its last token, has been read by any."""
        best, most = None, 0
        for read in (*running, *self._kept):
            shared = self._num_shared(read, marks)
            if shared > most:
                best, most = read, shared
        if best is None:
            return None
        return best.memory.beginning(best.row, most, num_pictures(marks[:most]))

    def _num_shared(self, read: Read, marks: Sequence[Mark]) -> int:
        """Tokens that both begin with; never up to the middle of a picture."""
        shared = 0
        longest = min(read.memory.num_tokens[read.row], len(marks) - 1)
        while shared < longest and read.marks[shared] == marks[shared]:
            shared += 1
        return shared - (shared > 0 and marks[shared - 1] == self._begin_mark)
