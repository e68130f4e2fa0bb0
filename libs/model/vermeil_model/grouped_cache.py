"""A cache for decoding several sequences in bfloat16 on a CPU.

PyTorch's CPU attention in bfloat16 is slow for one query at a time (1.3 ms a layer for 32 rows of 64
tokens and 6 heads of 64, where this takes 0.45). So heads lie side by side in groups, and the queries
of a group stand on the diagonal of a matrix: scores and mixtures are then two plain batched products.

Letters: L layers, R rows, N rows in this step, J groups, M query heads in a group, X = heads in a group ·
head width, S positions, T tokens, H query heads, K key/value heads, E head width.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from vermeil_model.attention import additive_mask
from vermeil_model.cache import StepAttention, check_room, checked_length
from vermeil_model.config import ModelConfig

MOST_HEADS_IN_GROUP = 8
"""A group of g heads multiplies g times the needed numbers: free while memory is the limit."""


class GroupedCache:
    """Room for `num_rows` sequences of up to `length` tokens; starts empty."""

    def __init__(self, config: ModelConfig, num_rows: int, length: int | None = None) -> None:
        heads = config.num_key_value_heads
        group = next(size for size in range(MOST_HEADS_IN_GROUP, 0, -1) if heads % size == 0)
        num_groups, width = heads // group, group * config.head_width
        shape = (config.depth, 2, num_rows, num_groups, checked_length(config, length), width)
        self.memory_L2RJSX = torch.zeros(shape, dtype=torch.bfloat16)
        self.lengths = [0] * num_rows
        self.scale = config.head_width**-0.5
        per_head = config.num_heads // heads
        # (rows, J, group, queries of a head, group, E): zero off the diagonal of the two group axes
        self.queries = torch.zeros(
            (num_rows, num_groups, group, per_head, group, config.head_width), dtype=torch.bfloat16
        )

    @property
    def capacity(self) -> int:
        """Most tokens a row can hold."""
        return self.memory_L2RJSX.shape[4]

    @property
    def num_bytes(self) -> int:
        """Size of all rows in memory."""
        return self.memory_L2RJSX.nbytes

    def write(self, layer: int, row: int, start: int, keys_TKE: Tensor, values_TKE: Tensor) -> None:
        """Put keys and values into a row, from position `start` on."""
        num_groups = self.memory_L2RJSX.shape[3]
        for memory_RJSX, new_TKE in zip(self.memory_L2RJSX[layer], (keys_TKE, values_TKE), strict=True):
            grouped_JTX = rearrange(new_TKE, "t (j g) e -> j t (g e)", j=num_groups)
            memory_RJSX[row, :, start : start + len(new_TKE)] = grouped_JTX

    def read(self, layer: int, row: int, end: int) -> tuple[Tensor, Tensor]:
        """Keys and values (S, K, E) of a row's first `end` positions."""
        held_2JSX = self.memory_L2RJSX[layer, :, row, :, :end]
        held_2SKE = rearrange(held_2JSX, "b j s (g e) -> b s (j g) e", g=self.queries.shape[2])
        return held_2SKE[0], held_2SKE[1]

    def cut(self, row: int, start: int, end: int) -> Tensor:
        """A copy of positions in all layers, (L, 2, J, T, X)."""
        return self.memory_L2RJSX[:, :, row, :, start:end].clone()

    def paste(self, row: int, part: Tensor) -> None:
        """Begin a row with what was cut from another."""
        self.memory_L2RJSX[:, :, row, :, : part.shape[3]] = part

    def copy_rows(self, other: GroupedCache, num_rows: int) -> None:
        """Take over the first rows of a cache of the same kind."""
        end = max(other.lengths[:num_rows])
        self.memory_L2RJSX[:, :, :num_rows, :, :end] = other.memory_L2RJSX[:, :, :num_rows, :, :end]
        self.lengths[:num_rows] = other.lengths[:num_rows]

    def attend_step(self, num_rows: int) -> StepAttention:
        """Attention of one new token in each of the first rows."""
        return _GroupedAttention(self, num_rows)

    def move_row(self, source: int, target: int) -> None:
        """Copy what row `source` holds over row `target`."""
        end = self.lengths[source]
        self.memory_L2RJSX[:, :, target, :, :end] = self.memory_L2RJSX[:, :, source, :, :end]
        self.lengths[target] = end


class _GroupedAttention:
    """One step of the first N rows; takes any dtype and mixes in bfloat16."""

    def __init__(self, cache: GroupedCache, num_rows: int) -> None:
        lengths = cache.lengths[:num_rows]
        self._cache = cache
        self._start, self._end = min(lengths), max(lengths) + 1
        check_room(self._end, cache.capacity)
        self._queries = cache.queries[:num_rows]
        num_groups, group, per_head, _, width = self._queries.shape[1:]
        self._diagonal = self._queries.diagonal(dim1=2, dim2=4).movedim(-1, 2)
        num_products = num_rows * num_groups
        queries_BMX = self._queries.view(num_products, group * per_head, group * width)
        self._queries_BXM = queries_BMX.transpose(1, 2)
        self._rows_B: Tensor | None = None
        self._mask_B1S: Tensor | None = None
        if self._start == self._end - 1:
            self.positions = torch.tensor([self._start])
            return
        self.positions = torch.tensor(lengths)[:, None]
        first_B = torch.arange(num_products).view(num_rows, num_groups) * cache.capacity
        self._rows_B = (first_B + self.positions).flatten()
        mask_NS = additive_mask(torch.arange(self._end) <= self.positions, torch.bfloat16)
        self._mask_B1S = mask_NS.repeat_interleave(num_groups, 0)[:, None]

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:
        diagonal = self._diagonal
        torch.mul(queries.view(diagonal.shape), self._cache.scale, out=diagonal)
        keys_BSX, values_BSX = self._take_up(keys, layer, 0), self._take_up(values, layer, 1)
        scores_BMS = torch.bmm(keys_BSX, self._queries_BXM).transpose(1, 2)
        if self._mask_B1S is not None:
            scores_BMS = scores_BMS + self._mask_B1S
        mixed_BMX = torch.bmm(torch.softmax(scores_BMS, -1), values_BSX)
        mixed = mixed_BMX.view(self._queries.shape).diagonal(dim1=2, dim2=4).movedim(-1, 2)
        return mixed.reshape(queries.shape)

    def _take_up(self, new_N1KE: Tensor, layer: int, which: int) -> Tensor:
        """Add the new keys or values to the memory and give all of it, (B, S, X)."""
        num_rows, num_groups = self._queries.shape[:2]
        memory_NJSX = self._cache.memory_L2RJSX[layer, which, :num_rows]
        width = memory_NJSX.shape[-1]
        if self._rows_B is None:
            memory_NJSX[:, :, self._start] = new_N1KE.reshape(num_rows, num_groups, width)
        else:
            new_BX = new_N1KE.reshape(-1, width).to(memory_NJSX.dtype)
            memory_NJSX.view(-1, width).index_copy_(0, self._rows_B, new_BX)
        return memory_NJSX.flatten(0, 1)[:, : self._end]
