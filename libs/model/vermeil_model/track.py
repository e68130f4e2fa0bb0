"""Tokens of several rows, each as many as it holds, and what is kept of them, in slots that grow as needed.

A row is a conversation; rows that are in use come first. There may be room for more, so that rows come and
go without copying the others. What lies beyond a row's length is of no meaning.

Letters: N layers, R rows with room, B rows in use, S slots, T new tokens, L slots of the fullest row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LEAST_CAPACITY = 64
Kinds = Mapping[str, Sequence[int]]
"""What is kept of a token: the shape (layers, …) of it by name."""


class Slots(NamedTuple):
    """Where the next tokens of every row go."""

    rows: Tensor | slice
    places: Tensor | slice


class Track:
    """Starts with `num_rows` empty rows and room for `room` of them."""

    def __init__(
        self,
        kinds: Kinds,
        num_rows: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
        room: int | None = None,
        capacity: int = LEAST_CAPACITY,
    ) -> None:
        room = num_rows if room is None else room
        self.kept = {
            name: torch.zeros(layers, room, capacity, *rest, dtype=dtype, device=device)
            for name, (layers, *rest) in kinds.items()
        }
        """(N, R, S, …) each."""
        self._of_picture_RS = torch.zeros(room, capacity, dtype=torch.bool, device=device)
        self.lengths = [0] * num_rows
        """Slots each row fills."""

    @property
    def longest(self) -> int:
        """Slots that the fullest row fills."""
        return max(self.lengths, default=0)

    @property
    def is_level(self) -> bool:
        """Whether all rows fill as many."""
        return min(self.lengths, default=0) == self.longest

    @property
    def num_bytes(self) -> int:
        """What it takes, with the room it has reserved."""
        return sum(kept.nbytes for kept in self.kept.values())

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self._of_picture_RS.device

    @property
    def dtype(self) -> torch.dtype:
        """Of all that is kept."""
        return next(iter(self.kept.values())).dtype

    def held(self, name: str) -> Tensor:
        """All that rows hold of one kind, (N, B, L, …)."""
        return self.kept[name][:, : len(self.lengths), : self.longest]

    def filled(self) -> Tensor:
        """Which slots are filled, (B, L)."""
        return torch.arange(self.longest, device=self.device) < self.next_places(1)

    def of_pictures(self) -> Tensor:
        """Which slots hold patches of given pictures, (B, L)."""
        return self._of_picture_RS[: len(self.lengths), : self.longest]

    def next_places(self, num_tokens: int) -> Tensor:
        """The slots that the next tokens of every row go to, (B, T)."""
        return counted_on(self.lengths, num_tokens, self.device)

    def next_slots(self, num_tokens: int) -> Slots:
        """The same for `put`, with room made for them."""
        self.reserve(num_tokens)
        if self.is_level:
            return Slots(slice(len(self.lengths)), slice(self.longest, self.longest + num_tokens))
        rows_B1 = torch.arange(len(self.lengths), device=self.device)[:, None]
        return Slots(rows_B1, self.next_places(num_tokens))

    def put(self, name: str, layer: int, slots: Slots, new_BT: Tensor) -> None:
        """Keep something of new tokens, (B, T, …), which are not counted yet."""
        self.kept[name][layer][slots.rows, slots.places] = new_BT.to(self.dtype)

    def advance(self, lengths: Sequence[int], *, of_picture: bool) -> None:
        """Count as held what has been put: so many tokens or patches a row."""
        for row, length in enumerate(lengths):
            start = self.lengths[row]
            self._of_picture_RS[row, start : start + length] = of_picture
            self.lengths[row] += length

    def reserve(self, num_tokens: int) -> None:
        """Make room for so many more tokens in every row."""
        needed, (room, capacity) = self.longest + num_tokens, self._of_picture_RS.shape
        if needed > capacity:
            self._move(room, max(needed, 2 * capacity), slice(len(self.lengths)))

    def rows(self, index: Sequence[int]) -> Track:
        """What these rows hold, copied; a row may be named several times."""
        copied = Track.__new__(Track)
        copied.kept, copied._of_picture_RS = self.kept, self._of_picture_RS
        copied.lengths = [self.lengths[row] for row in index]
        capacity = LEAST_CAPACITY * max(1, -(-copied.longest // LEAST_CAPACITY))
        copied._move(len(index), capacity, torch.tensor(index, dtype=torch.long, device=self.device))
        return copied

    def take_in(self, other: Track) -> None:
        """Append the rows of another; there must be room for them."""
        start, end = len(self.lengths), len(self.lengths) + len(other.lengths)
        self.reserve(max(0, other.longest - self.longest))
        held = slice(other.longest)
        for name, kept in self.kept.items():
            kept[:, start:end, held] = other.held(name)
        self._of_picture_RS[start:end, held] = other.of_pictures()
        self.lengths.extend(other.lengths)

    def drop(self, row: int) -> None:
        """Forget a row; the last one takes its place."""
        length = self.lengths.pop()
        last = len(self.lengths)
        if row == last:
            return
        for kept in self.kept.values():
            kept[:, row, :length] = kept[:, last, :length]
        self._of_picture_RS[row, :length] = self._of_picture_RS[last, :length]
        self.lengths[row] = length

    def _move(self, room: int, capacity: int, index: slice | Tensor) -> None:
        """Take these rows into new memory, as they are in use from now on."""
        held = slice(self.longest)
        for name, kept in self.kept.items():
            moved = kept.new_zeros(len(kept), room, capacity, *kept.shape[3:])
            moved[:, : len(self.lengths), held] = kept[:, index, held]
            self.kept = {**self.kept, name: moved}
        of_picture_RS = self._of_picture_RS.new_zeros(room, capacity)
        of_picture_RS[: len(self.lengths), held] = self._of_picture_RS[index, held]
        self._of_picture_RS = of_picture_RS


def counted_on(starts: Sequence[int], num_tokens: int, device: torch.device) -> Tensor:
    """From each of these on, (B, T)."""
    starts_B = torch.tensor(starts, dtype=torch.long, device=device)
    return starts_B[:, None] + torch.arange(num_tokens, device=device)
