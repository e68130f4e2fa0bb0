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
        self.num_key_value_heads = config.num_key_value_heads
        heads = 2 * config.num_key_value_heads
        self.memory_LBSCE = torch.zeros(
            (config.depth, num_rows, length, heads, config.head_width), dtype=dtype, device=device
        )
        self.lengths = [0] * num_rows

    @property
    def capacity(self) -> int:
        """Most tokens a row can hold."""
        return self.memory_LBSCE.shape[2]

    def positions(self, num_tokens: int) -> Tensor:
        """Where the next `num_tokens` of every row stand: (T) where all rows agree, else (B, T)."""
        device = self.memory_LBSCE.device
        steps_T = torch.arange(num_tokens, device=device)
        if len(set(self.lengths)) == 1:
            return steps_T + self.lengths[0]
        return torch.tensor(self.lengths, device=device)[:, None] + steps_T

    def advance(self, num_tokens: int) -> None:
        """Count the tokens just written as read."""
        self.lengths = [length + num_tokens for length in self.lengths]


class CachedAttention:
    """Writes the keys and values of T new tokens a row, then attends over all the row holds."""

    def __init__(self, cache: KeyValueCache, num_tokens: int, dtype: torch.dtype) -> None:
        lengths = cache.lengths
        self._cache = cache
        self._fresh = max(lengths) == 0
        self._end = max(lengths) + num_tokens
        if self._end > cache.capacity:
            raise InvalidInput.for_field(
                "tokens", self._end, f"exceed the cache of {cache.capacity} tokens", "Ask for fewer tokens."
            )
        level = len(set(lengths)) == 1
        self._span = slice(lengths[0], self._end) if level else None
        self._positions = cache.positions(num_tokens)
        self._rows = None if level else torch.arange(len(lengths), device=self._positions.device)[:, None]
        self._mask_B1TS = None if level and num_tokens == 1 else self._mask(num_tokens, dtype)

    def _mask(self, num_tokens: int, dtype: torch.dtype) -> Tensor | None:
        if self._fresh:
            return None
        keys_S = torch.arange(self._end, device=self._positions.device)
        hidden = keys_S > self._positions.reshape(-1, 1, num_tokens, 1)
        return torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, -torch.inf)

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:
        memory_BSCE = self._cache.memory_LBSCE[layer]
        new_BTCE = torch.cat((keys, values), dim=2).to(memory_BSCE.dtype)
        if self._span is not None:
            memory_BSCE[:, self._span] = new_BTCE
        else:
            memory_BSCE[self._rows, self._positions] = new_BTCE
        if self._fresh:
            return scaled_dot_product(queries, keys, values, None)
        known_BSCE = memory_BSCE[:, : self._end].to(queries.dtype)
        keys_BSKE, values_BSKE = known_BSCE.chunk(2, dim=2)
        attend = attend_one if queries.shape[1] == 1 else scaled_dot_product
        return attend(queries, keys_BSKE, values_BSKE, self._mask_B1TS)
