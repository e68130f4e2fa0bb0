"""Keys and values of tokens already read, in memory set aside once, and attention through them.

Rows are sequences; each has its own length, so rows may stand at different places. The lengths live
on the host: every step's masks and indices follow from them without asking the device.

Letters: L layers, B rows, T new tokens, S positions, H query heads, K key/value heads, C = 2·K keys and
values, E head width.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from vermeil_errors import InvalidInput

from vermeil_model.attention import Attend, additive_mask, attend_one, scaled_dot_product
from vermeil_model.config import ModelConfig


class Span(NamedTuple):
    """Where a part of a prompt lies among parts laid end to end, and which row of the cache it continues."""

    row: int
    tokens: slice
    start: int = 0
    """Tokens that the row holds before it."""


class DecodingCache(Protocol):
    """What the Decoder needs of a cache: fill rows, add one token to many, move rows and parts of them."""

    lengths: list[int]
    """Tokens each row holds."""

    @property
    def capacity(self) -> int:
        """Most tokens a row can hold."""

    @property
    def num_bytes(self) -> int:
        """Size of all rows in memory."""

    def write(self, layer: int, row: int, start: int, keys_TKE: Tensor, values_TKE: Tensor) -> None:
        """Put keys and values into a row, from position `start` on."""

    def read(self, layer: int, row: int, end: int) -> tuple[Tensor, Tensor]:
        """Keys and values (S, K, E) of a row's first `end` positions."""

    def cut(self, row: int, start: int, end: int) -> Tensor:
        """A copy of positions in all layers, (…, T, ·)."""

    def paste(self, row: int, part: Tensor) -> None:
        """Begin a row with what was cut from another."""

    def copy_rows(self, other: Any, num_rows: int) -> None:
        """Take over the first rows of a cache of the same kind."""

    def attend_step(self, num_rows: int) -> StepAttention:
        """Attention of one new token in each of the first rows."""

    def move_row(self, source: int, target: int) -> None:
        """Copy what row `source` holds over row `target`."""


class StepAttention(Attend, Protocol):
    """Writes one new token a row into a cache, then attends over all those rows hold."""

    positions: Tensor
    """Of the new tokens: (1) where all rows stand at the same place, else (B, 1)."""


class KeyValueCache:
    """Room for `num_rows` sequences of up to `length` tokens, head by head; starts empty."""

    def __init__(
        self,
        config: ModelConfig,
        num_rows: int,
        length: int | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        length = checked_length(config, length)
        shape = (config.depth, num_rows, 2 * config.num_key_value_heads, length, config.head_width)
        self.memory_LBCSE = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = [0] * num_rows

    @property
    def capacity(self) -> int:
        """Most tokens a row can hold."""
        return self.memory_LBCSE.shape[3]

    @property
    def num_bytes(self) -> int:
        """Size of all rows in memory."""
        return self.memory_LBCSE.nbytes

    def write(self, layer: int, row: int, start: int, keys_TKE: Tensor, values_TKE: Tensor) -> None:
        """Put keys and values into a row, from position `start` on."""
        keys_KSE, values_KSE = self.memory_LBCSE[layer, row].chunk(2)
        end = start + len(keys_TKE)
        keys_KSE[:, start:end] = keys_TKE.transpose(0, 1)
        values_KSE[:, start:end] = values_TKE.transpose(0, 1)

    def read(self, layer: int, row: int, end: int) -> tuple[Tensor, Tensor]:
        """Keys and values (S, K, E) of a row's first `end` positions."""
        keys_KSE, values_KSE = self.memory_LBCSE[layer, row, :, :end].chunk(2)
        return keys_KSE.transpose(0, 1), values_KSE.transpose(0, 1)

    def cut(self, row: int, start: int, end: int) -> Tensor:
        """A copy of positions in all layers, (L, C, T, E)."""
        return self.memory_LBCSE[:, row, :, start:end].clone()

    def paste(self, row: int, part: Tensor) -> None:
        """Begin a row with what was cut from another."""
        self.memory_LBCSE[:, row, :, : part.shape[2]] = part

    def copy_rows(self, other: KeyValueCache, num_rows: int) -> None:
        """Take over the first rows of a cache of the same kind."""
        end = max(other.lengths[:num_rows])
        self.memory_LBCSE[:, :num_rows, :, :end] = other.memory_LBCSE[:, :num_rows, :, :end]
        self.lengths[:num_rows] = other.lengths[:num_rows]

    def attend_step(self, num_rows: int) -> StepAttention:
        """Attention of one new token in each of the first rows."""
        return CachedAttention(self, 1, num_rows)

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
        check_room(self._end, cache.capacity)
        self._fresh = max(lengths) == 0
        self._level = self._start == max(lengths)
        self.positions = torch.arange(self._start, self._start + num_tokens, device=device)
        if not self._level:
            starts = torch.tensor(lengths, device=device)
            self.positions = starts[:, None] + torch.arange(num_tokens, device=device)
            self._rows_B1 = torch.arange(len(lengths), device=device)[:, None]
        masked = not self._fresh and not (self._level and num_tokens == 1)
        self._mask_B1TS = self._mask(num_tokens) if masked else None

    def _mask(self, num_tokens: int) -> Tensor:
        keys_S = torch.arange(self._end, device=self.positions.device)
        visible = keys_S <= self.positions.reshape(-1, 1, num_tokens, 1)
        return additive_mask(visible, self._memory_LBCSE.dtype)

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:
        memory_BSCE = self._memory_LBCSE[layer].transpose(1, 2)
        known_keys, known_values = memory_BSCE.chunk(2, dim=2)
        if self._level:
            known_keys[:, self._start : self._end] = keys
            known_values[:, self._start : self._end] = values
        else:
            known_keys[self._rows_B1, self.positions] = keys.to(memory_BSCE.dtype)
            known_values[self._rows_B1, self.positions] = values.to(memory_BSCE.dtype)
        if self._fresh:
            return scaled_dot_product(queries, keys, values, None)
        attend = attend_one if queries.shape[1] == 1 else scaled_dot_product
        known_keys, known_values = known_keys[:, : self._end], known_values[:, : self._end]
        mixed = attend(queries.to(memory_BSCE.dtype), known_keys, known_values, self._mask_B1TS)
        return mixed.to(queries.dtype)


class PromptAttention:
    """Parts of prompts laid end to end: each continues its row and attends over all that this then holds.

    What is attended over is always what the cache holds, in its precision: where prompts are parted makes
    no difference.
    """

    def __init__(self, cache: DecodingCache, spans: list[Span], device: torch.device | str = "cpu") -> None:
        self._cache = cache
        self._spans = spans
        self._masks: list[Tensor | None] = []
        for row, tokens, start in spans:
            end = cache.lengths[row] = start + tokens.stop - tokens.start
            self._masks.append(_continuing(start, end, device) if start else None)

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:
        mixed = []
        for (row, tokens, start), mask in zip(self._spans, self._masks, strict=True):
            self._cache.write(layer, row, start, keys[0, tokens], values[0, tokens])
            known = self._cache.read(layer, row, self._cache.lengths[row])
            known_keys, known_values = (each[None].to(queries.dtype) for each in known)
            mixed.append(scaled_dot_product(queries[:, tokens], known_keys, known_values, mask))
        return torch.cat(mixed, dim=1)


def _continuing(start: int, end: int, device: torch.device | str) -> Tensor:
    """Positions from `start` to `end` see themselves and all before, (1, 1, T, S)."""
    positions_S = torch.arange(end, device=device)
    return additive_mask(positions_S <= positions_S[start:, None], torch.float32)[None, None]


def checked_length(config: ModelConfig, length: int | None) -> int:
    """The length of a cache: the whole context unless a shorter one is asked for."""
    if length is None:
        return config.context_length
    if not 0 < length <= config.context_length:
        raise InvalidInput.for_field(
            "length", length, "is outside the model's context", f"Use 1 to {config.context_length}."
        )
    return length


def check_room(end: int, capacity: int) -> None:
    """Refuse tokens beyond the end of a cache."""
    if end > capacity:
        raise InvalidInput.for_field(
            "tokens", end, f"exceed the cache of {capacity} tokens", "Ask for fewer tokens."
        )
