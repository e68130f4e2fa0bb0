"""What a fused model has read: text and pictures, row by row, in one order or each in an order of its own.

Rows are conversations, each with counts of its own, which live on the host. Text and pictures share a track
where they attend as one sequence; where one only looks across at the other, each has a track, so that nobody
goes through what it never sees. What is kept of them is the fusion's affair.

Letters: N layers, B rows, T new tokens, S slots, H query heads, K key/value heads, E head width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vermeil_model.attention import additive_mask, attend_one, scaled_dot_product
from vermeil_model.track import Kinds, Track, counted_on

KEYS, VALUES = "keys", "values"


class Kept(NamedTuple):
    """What a fusion keeps of what it reads."""

    of_text: Kinds
    of_pictures: Kinds | None = None
    """In a track of their own; None where they share that of the text."""


class Takes(NamedTuple):
    """What a picture takes."""

    slots: int
    positions: int


class Memory:
    """Starts empty; `rows` copies what some of its rows hold into a memory of their own."""

    def __init__(
        self,
        kept: Kept,
        picture: Takes,
        num_rows: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
        room: int | None = None,
    ) -> None:
        self.text = Track(kept.of_text, num_rows, dtype=dtype, device=device, room=room)
        self.pictures = self.text
        """The same track where they attend as one sequence."""
        if kept.of_pictures is not None:
            self.pictures = Track(kept.of_pictures, num_rows, dtype=dtype, device=device, room=room)
        self.num_tokens = [0] * num_rows
        """Text tokens each row has read."""
        self.num_pictures = [0] * num_rows
        """Pictures each row has read."""
        self._picture = picture

    @property
    def num_rows(self) -> int:
        """How many rows are in use."""
        return len(self.num_tokens)

    @property
    def lengths(self) -> list[int]:
        """Tokens and patches each row has read."""
        return self._counted(self._picture.slots)

    @property
    def positions(self) -> list[int]:
        """Rotary position of what each row reads next."""
        return self._counted(self._picture.positions)

    @property
    def num_bytes(self) -> int:
        """What all rows take, with the room they have reserved."""
        return sum(track.num_bytes for track in self._tracks)

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.text.device

    def next_positions(self, num_tokens: int) -> Tensor:
        """The rotary positions of the next tokens of every row, were they text, (B, T)."""
        return counted_on(self.positions, num_tokens, self.device)

    def advance_text(self, lengths: Sequence[int]) -> None:
        """Count what has been put as read: so many tokens a row."""
        self.text.advance(lengths, of_picture=False)
        self.num_tokens = [count + more for count, more in zip(self.num_tokens, lengths, strict=True)]

    def advance_picture(self) -> None:
        """Count a picture in every row as read."""
        self.pictures.advance([self._picture.slots] * self.num_rows, of_picture=True)
        self.num_pictures = [count + 1 for count in self.num_pictures]

    def rows(self, index: Sequence[int]) -> Memory:
        """What these rows hold, copied; a row may be named several times."""
        copied = Memory.__new__(Memory)
        copied._picture = self._picture
        copied.text = copied.pictures = self.text.rows(index)
        if self.pictures is not self.text:
            copied.pictures = self.pictures.rows(index)
        copied.num_tokens = [self.num_tokens[row] for row in index]
        copied.num_pictures = [self.num_pictures[row] for row in index]
        return copied

    def beginning(self, row: int, num_tokens: int, num_pictures: int) -> Memory:
        """The same of one row as it was when it had read so much."""
        whole = copy.copy(self)
        whole.text = copy.copy(self.text)
        whole.pictures = whole.text if self.pictures is self.text else copy.copy(self.pictures)
        tokens, pictures = list(self.num_tokens), list(self.num_pictures)
        tokens[row], pictures[row] = num_tokens, num_pictures
        whole.go_back(tokens, pictures)
        return whole.rows([row])

    def make_room(self, other: Memory) -> None:
        """So much that `take_in` needs no more; where there is none, all rows are as they were."""
        for track, more in zip(self._tracks, other._tracks, strict=True):
            track.reserve(max(0, more.longest - track.longest))

    def take_in(self, other: Memory) -> None:
        """Append the rows of another; there must be room for them."""
        for track, more in zip(self._tracks, other._tracks, strict=True):
            track.take_in(more)
        self.num_tokens.extend(other.num_tokens)
        self.num_pictures.extend(other.num_pictures)

    def drop(self, row: int) -> None:
        """Forget a row; the last one takes its place."""
        for track in self._tracks:
            track.drop(row)
        for counts in (self.num_tokens, self.num_pictures):
            last = counts.pop()
            if row < len(counts):
                counts[row] = last

    def go_back(self, num_tokens: Sequence[int], num_pictures: Sequence[int]) -> None:
        """Forget what rows have read since they had read so much."""
        self.num_tokens, self.num_pictures = list(num_tokens), list(num_pictures)
        if self.pictures is self.text:
            self.text.lengths = self.lengths
        else:
            self.text.lengths = list(num_tokens)
            self.pictures.lengths = [self._picture.slots * count for count in num_pictures]

    @property
    def _tracks(self) -> list[Track]:
        return [self.text] if self.pictures is self.text else [self.text, self.pictures]

    def _counted(self, of_picture: int) -> list[int]:
        both = zip(self.num_tokens, self.num_pictures, strict=True)
        return [tokens + of_picture * pictures for tokens, pictures in both]


class MemoryAttention:
    """Writes new tokens of one modality into a track, then attends over all its rows hold.

    Text sees what was before and itself, a picture all of itself. `gates_NH` is added to scores of tokens
    of the other modality. Made for one reading.
    """

    def __init__(
        self, track: Track, num_tokens: int, *, of_picture: bool = False, gates_NH: Tensor | None = None
    ) -> None:
        self.slots = track.next_slots(num_tokens)
        self._track, self._num_rows = track, len(track.lengths)
        self._end = track.longest + num_tokens
        self._mask_B1TS: Tensor | None = None
        self._gates_NBH1S: Tensor | None = None
        if not track.is_level or (num_tokens > 1 and not of_picture) or gates_NH is not None:
            places_BT = track.next_places(num_tokens)
            keys_S = torch.arange(self._end, device=track.device)
            last_BT = places_BT[:, -1:] if of_picture else places_BT
            self._mask_B1TS = additive_mask((keys_S <= last_BT[..., None])[:, None], track.dtype)
        if gates_NH is not None:
            other_BL = track.filled() & (track.of_pictures() != of_picture)
            other_BS = torch.nn.functional.pad(other_BL, (0, num_tokens))
            gates_NBHS = other_BS[:, None] * gates_NH.to(track.dtype)[:, None, :, None]
            self._gates_NBH1S = gates_NBHS[:, :, :, None]

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:
        track = self._track
        track.put(KEYS, layer, self.slots, keys)
        track.put(VALUES, layer, self.slots, values)
        known_keys, known_values = (
            track.kept[name][layer, : self._num_rows, : self._end] for name in (KEYS, VALUES)
        )
        mixed = attend_known(queries.to(track.dtype), known_keys, known_values, self._mask(layer))
        return mixed.to(queries.dtype)

    def _mask(self, layer: int) -> Tensor | None:
        if self._gates_NBH1S is None or self._mask_B1TS is None:
            return self._mask_B1TS
        return self._mask_B1TS + self._gates_NBH1S[layer]


def attend_known(queries_BTHE: Tensor, keys_BSKE: Tensor, values_BSKE: Tensor, mask: Tensor | None) -> Tensor:
    """Attention over all that a mask, (B, 1 or H, T or 1, S), leaves, or over everything."""
    if queries_BTHE.shape[1] > 1:
        return scaled_dot_product(queries_BTHE, keys_BSKE, values_BSKE, mask, causal=False)
    if mask is not None and mask.shape[1] > 1:
        mask = mask.view(len(mask), keys_BSKE.shape[2], -1, mask.shape[-1])
    return attend_one(queries_BTHE, keys_BSKE, values_BSKE, mask)
