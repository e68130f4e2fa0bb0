"""Keys and values of tokens already read, in memory set aside once.

Rows are sequences; each has its own length, so rows may stand at different places. The lengths live
on the host: every step's masks and indices follow from them without asking the device.

Letters: L layers, B rows, T new tokens, S positions, C = 2·K key and value heads, E head width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from vermeil_errors import InvalidInput

from vermeil_model.attention import attend_one, scaled_dot_product
from vermeil_model.config import ModelConfig


class KeyValueCache:
    """Room for `num_rows` sequences of up to `length` tokens; starts empty."""

    def __init__(
        self,
        config: ModelConfig,
        num_rows: int,
        length: int | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        length = config.context_length if length is None else length
        if not 0 < length <= config.context_length:
            raise InvalidInput.for_field(
                "length", length, "is outside the model's context", f"Use 1 to {config.context_length}."
            )
        heads = 2 * config.num_key_value_heads
        shape = (config.depth, num_rows, heads, length, config.head_width)
        self.memory_LBCSE = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = [0] * num_rows

    @property
    def capacity(self) -> int:
        """Most tokens a row can hold."""
        return self.memory_LBCSE.shape[3]

    def move_row(self, source: int, target: int) -> None:
        """Copy what row `source` holds over row `target`."""
        end = self.lengths[source]
        self.memory_LBCSE[:, target, :, :end] = self.memory_LBCSE[:, source, :, :end]
        self.lengths[target] = end


class CachedAttention:
    """Writes T new tokens into the first rows of a cache, then attends over all those rows hold.

    Made for one forward pass, and computed in the dtype of the cache. `positions` are those of the new
    tokens: (T) where all rows stand at the same place, else (B, T). Where they do, and T is 1 or the
    rows are empty, no mask is needed.
    """

    def __init__(self, cache: KeyValueCache, num_tokens: int, num_rows: int | None = None) -> None:
        lengths = cache.lengths[:num_rows]
        device = cache.memory_LBCSE.device
        self._memory_LBCSE = cache.memory_LBCSE[:, : len(lengths)]
        self._start, self._end = min(lengths), max(lengths) + num_tokens
        if self._end > cache.capacity:
            raise InvalidInput.for_field(
                "tokens", self._end, f"exceed the cache of {cache.capacity} tokens", "Ask for fewer tokens."
            )
        self._fresh = max(lengths) == 0
        level = self._start == max(lengths)
        self.positions = torch.arange(self._start, self._start + num_tokens, device=device)
        self._rows_N: Tensor | None = None
        if not level:
            starts = torch.tensor(lengths, device=device)
            self.positions = starts[:, None] + torch.arange(num_tokens, device=device)
            self._rows_N = self._memory_rows(self.positions)
        masked = not self._fresh and not (level and num_tokens == 1)
        self._mask_B1TS = self._mask(num_tokens) if masked else None

    def _memory_rows(self, positions_BT: Tensor) -> Tensor:
        """Index of each new head vector in one layer's memory seen as a table of E-wide rows."""
        num_rows, num_heads, capacity = self._memory_LBCSE.shape[1:4]
        heads = torch.arange(num_rows * num_heads, device=positions_BT.device) * capacity
        return (heads.view(num_rows, num_heads, 1) + positions_BT[:, None, :]).flatten()

    def _mask(self, num_tokens: int) -> Tensor:
        keys_S = torch.arange(self._end, device=self.positions.device)
        hidden = keys_S > self.positions.reshape(-1, 1, num_tokens, 1)
        dtype = self._memory_LBCSE.dtype
        return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, -torch.inf)

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:
        memory_BCSE = self._memory_LBCSE[layer]
        new_BCTE = torch.cat((keys, values), dim=2).transpose(1, 2).to(memory_BCSE.dtype)
        if self._rows_N is None:
            memory_BCSE[:, :, self._start : self._end] = new_BCTE
        else:
            width = new_BCTE.shape[-1]
            memory_BCSE.view(-1, width).index_copy_(0, self._rows_N, new_BCTE.reshape(-1, width))
        if self._fresh:
            return scaled_dot_product(queries, keys, values, None)
        known_keys, known_values = memory_BCSE[:, :, : self._end].transpose(1, 2).chunk(2, dim=2)
        attend = attend_one if queries.shape[1] == 1 else scaled_dot_product
        mixed = attend(queries.to(memory_BCSE.dtype), known_keys, known_values, self._mask_B1TS)
        return mixed.to(queries.dtype)
