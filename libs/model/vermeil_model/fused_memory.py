"""What a fused model has read: keys and values of text and pictures, in one memory that grows as needed.

Rows are conversations, each with a length and a rotary position of its own; both live on the host. The
memory does not know how towers are joined, only which of its tokens are of pictures.

Letters: N layers, B rows, T new tokens, S slots, K key/value heads, E head width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vermeil_model.attention import additive_mask, scaled_dot_product

LEAST_CAPACITY = 64


class Memory:
    """Starts empty; `rows` copies what some of its rows hold into a memory of their own."""

    def __init__(
        self,
        num_layers: int,
        num_rows: int,
        num_heads: int,
        head_width: int,
        dtype: torch.dtype,
        device: torch.device,
        beside: Mapping[str, Sequence[int]],
    ) -> None:
        shape = (num_layers, num_rows, LEAST_CAPACITY, num_heads, head_width)
        self.keys_NBSKE = torch.zeros(shape, dtype=dtype, device=device)
        self.values_NBSKE = torch.zeros(shape, dtype=dtype, device=device)
        self.of_picture_BS = torch.zeros(shape[1:3], dtype=torch.bool, device=device)
        self.beside = {
            name: torch.zeros(layers, num_rows, LEAST_CAPACITY, *rest, dtype=dtype, device=device)
            for name, (layers, *rest) in beside.items()
        }
        """What else a fusion keeps of tokens, by names of its own, each (layers, B, S, …)."""
        self.lengths = [0] * num_rows
        """Tokens and patches each row holds."""
        self.positions = [0] * num_rows
        """Rotary position of what each row reads next."""

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.lengths)

    @property
    def longest(self) -> int:
        """Tokens that the fullest row holds."""
        return max(self.lengths, default=0)

    @property
    def num_bytes(self) -> int:
        """What all rows take, with the room they have reserved."""
        return sum(tensor.nbytes for tensor in (self.keys_NBSKE, self.values_NBSKE, *self.beside.values()))

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.of_picture_BS.device

    def reserve(self, num_tokens: int) -> None:
        """Make room for so many more tokens in every row."""
        needed, capacity = self.longest + num_tokens, self.of_picture_BS.shape[1]
        if needed <= capacity:
            return
        more = max(needed, 2 * capacity) - capacity
        self.keys_NBSKE = _longer(self.keys_NBSKE, 2, more)
        self.values_NBSKE = _longer(self.values_NBSKE, 2, more)
        self.beside = {name: _longer(kept, 2, more) for name, kept in self.beside.items()}
        self.of_picture_BS = _longer(self.of_picture_BS, 1, more)

    def next_places(self, num_tokens: int) -> Tensor:
        """The slots that the next tokens of every row go to, (B, T)."""
        return self._counted_on(self.lengths, num_tokens)

    def next_positions(self, num_tokens: int) -> Tensor:
        """The rotary positions of the next tokens of every row, were they text, (B, T)."""
        return self._counted_on(self.positions, num_tokens)

    def _counted_on(self, starts: list[int], num_tokens: int) -> Tensor:
        starts_B = torch.tensor(starts, dtype=torch.long, device=self.device)
        return starts_B[:, None] + torch.arange(num_tokens, device=self.device)

    def write(self, layer: int, places_BT: Tensor, keys_BTKE: Tensor, values_BTKE: Tensor) -> None:
        """Put keys and values of one layer at these places."""
        rows_B1 = self._each_row()
        self.keys_NBSKE[layer][rows_B1, places_BT] = keys_BTKE.to(self.keys_NBSKE.dtype)
        self.values_NBSKE[layer][rows_B1, places_BT] = values_BTKE.to(self.values_NBSKE.dtype)

    def keep(self, name: str, layer: int, places_BT: Tensor, kept_BT: Tensor) -> None:
        """Put what is kept beside keys and values, (B, T, …), at these places."""
        self.beside[name][layer][self._each_row(), places_BT] = kept_BT.to(self.keys_NBSKE.dtype)

    def _each_row(self) -> Tensor:
        return torch.arange(self.num_rows, device=self.device)[:, None]

    def advance(self, lengths: Sequence[int], positions: Sequence[int], *, of_picture: bool) -> None:
        """Count what has been written as read: so many tokens and rotary positions a row."""
        for row, (length, position) in enumerate(zip(lengths, positions, strict=True)):
            start = self.lengths[row]
            self.of_picture_BS[row, start : start + length] = of_picture
            self.lengths[row] += length
            self.positions[row] += position

    def rows(self, index: Sequence[int]) -> Memory:
        """What these rows hold, copied; a row may be named several times."""
        copied = Memory.__new__(Memory)
        index_B = torch.tensor(index, dtype=torch.long, device=self.device)
        copied.keys_NBSKE = self.keys_NBSKE[:, index_B]
        copied.values_NBSKE = self.values_NBSKE[:, index_B]
        copied.beside = {name: kept[:, index_B] for name, kept in self.beside.items()}
        copied.of_picture_BS = self.of_picture_BS[index_B]
        copied.lengths = [self.lengths[row] for row in index]
        copied.positions = [self.positions[row] for row in index]
        return copied

    def go_back(self, lengths: Sequence[int], positions: Sequence[int]) -> None:
        """Forget what rows have read since they held so many tokens and were at these positions."""
        self.lengths, self.positions = list(lengths), list(positions)


class MemoryAttention:
    """Writes new tokens of one modality into a memory, then attends over all its rows hold.

    Text sees what was before and itself, a picture all of itself. `gates_NH` is added to scores of
    tokens of the other modality, which are not seen at all unless `sees_other`. Made for one reading.
    """

    def __init__(
        self,
        memory: Memory,
        num_tokens: int,
        gates_NH: Tensor | None,
        *,
        of_picture: bool,
        sees_other: bool = True,
    ) -> None:
        memory.reserve(num_tokens)
        self._memory = memory
        self._places_BT = memory.next_places(num_tokens)
        self._end = memory.longest + num_tokens
        keys_S = torch.arange(self._end, device=memory.device)
        last_BT = self._places_BT[:, -1:] if of_picture else self._places_BT
        dtype = memory.keys_NBSKE.dtype
        self._gates_NH = None if gates_NH is None else gates_NH.to(dtype)
        old_BS = keys_S < self._places_BT[:, :1]
        self._other_BS = old_BS & (memory.of_picture_BS[:, : self._end] != of_picture)
        visible_BTS = keys_S <= last_BT[..., None]
        if not sees_other:
            visible_BTS = visible_BTS & ~self._other_BS[:, None]
        self._mask_B1TS = additive_mask(visible_BTS[:, None], dtype)

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:
        memory, mask = self._memory, self._mask_B1TS
        memory.write(layer, self._places_BT, keys, values)
        if self._gates_NH is not None:
            mask = mask + self._other_BS[:, None, None] * self._gates_NH[layer][:, None, None]
        known_keys, known_values = (
            m[layer][:, : self._end] for m in (memory.keys_NBSKE, memory.values_NBSKE)
        )
        mixed = scaled_dot_product(queries.to(mask.dtype), known_keys, known_values, mask)
        return mixed.to(queries.dtype)


def _longer(tensor: Tensor, axis: int, more: int) -> Tensor:
    shape = list(tensor.shape)
    shape[axis] = more
    return torch.cat((tensor, tensor.new_zeros(shape)), axis)
