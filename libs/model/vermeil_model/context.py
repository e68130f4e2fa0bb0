"""What patches see of their condition: its keys and values in every layer.

Condition tokens see only one another, so these depend neither on the picture nor on the time: they are
computed once for all steps of sampling. Padding and absent conditions are hidden from everybody else.

Letters: B batch, L condition tokens, T patches, S = L + T keys, K key/value heads, E head width, D width.
"""
# ruff: noqa: N815

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vermeil_model.attention import Attend, additive_mask, scaled_dot_product


class Context(NamedTuple):
    """A condition, read."""

    keys: list[Tensor]
    """One a layer, (B, L, K, E)."""
    values: list[Tensor]
    """One a layer, (B, L, K, E)."""
    visible_BL: Tensor | None
    """False where a token is padding or its condition absent; None where all are visible."""
    pooled_BD: Tensor | None
    """The condition in one vector, 0 where absent, for the time embedding."""
    biases: list[Tensor] | None = None
    """One a layer, added to the scores of its tokens, (B, H, L), H query heads."""

    def rows(self, index_B: Tensor | slice) -> Context:
        """The contexts at these places."""
        return Context(
            keys=[keys[index_B] for keys in self.keys],
            values=[values[index_B] for values in self.values],
            visible_BL=None if self.visible_BL is None else self.visible_BL[index_B],
            pooled_BD=None if self.pooled_BD is None else self.pooled_BD[index_B],
            biases=None if self.biases is None else [bias[index_B] for bias in self.biases],
        )

    def hidden_where(self, absent_B: Tensor) -> Context:
        """The same with all of a row out of sight where `absent_B` is true."""
        present_B1 = ~absent_B[:, None]
        visible_BL = present_B1.expand(-1, self.keys[0].shape[1])
        if self.visible_BL is not None:
            visible_BL = visible_BL & self.visible_BL
        pooled_BD = None if self.pooled_BD is None else self.pooled_BD * present_B1
        return Context(self.keys, self.values, visible_BL, pooled_BD, self.biases)


class Everyone:
    """Every condition token sees all that are visible."""

    def __init__(self, visible_BL: Tensor | None, dtype: torch.dtype) -> None:
        self._mask_B11L = None if visible_BL is None else additive_mask(visible_BL[:, None, None], dtype)

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:  # noqa: ARG002
        return scaled_dot_product(queries, keys, values, self._mask_B11L, causal=False)


class Reading:
    """Attention of condition tokens among themselves, which keeps their keys and values."""

    def __init__(self, attend: Attend) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self._attend = attend

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:
        self.keys.append(keys)
        self.values.append(values)
        return self._attend(queries, keys, values, layer)


class PatchAttention:
    """Every patch sees all patches of its picture and, where there is one, its context."""

    def __init__(self, context: Context | None, num_patches: int, dtype: torch.dtype) -> None:
        self._context = context
        self._mask_B11S = None
        if context is not None and context.visible_BL is not None:
            visible_BL = context.visible_BL
            visible_BT = visible_BL.new_ones(len(visible_BL), num_patches)
            visible_BS = torch.cat((visible_BL, visible_BT), dim=1)
            self._mask_B11S = additive_mask(visible_BS[:, None, None], dtype)

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:
        if self._context is not None:
            keys = torch.cat((self._context.keys[layer].to(keys.dtype), keys), dim=1)
            values = torch.cat((self._context.values[layer].to(values.dtype), values), dim=1)
        return scaled_dot_product(queries, keys, values, self._mask(layer, queries), causal=False)

    def _mask(self, layer: int, queries: Tensor) -> Tensor | None:
        if self._context is None or self._context.biases is None:
            return self._mask_B11S
        bias_BHL = self._context.biases[layer].to(queries.dtype)
        bias_BH1S = functional.pad(bias_BHL, (0, queries.shape[1]))[:, :, None]
        return bias_BH1S if self._mask_B11S is None else bias_BH1S + self._mask_B11S


def joined(contexts: Sequence[Context | None], num_absent: int = 0) -> Context | None:
    """Contexts of one row each as one of many, then rows that see nothing; None where all do."""
    first = next((context for context in contexts if context is not None), None)
    if first is None:
        return None
    rows = [(row, context) for row, context in enumerate(contexts) if context is not None]
    num_rows = len(contexts) + num_absent

    def stacked(parts: Sequence[Tensor], axis: int = 1) -> Tensor:
        """One part a row that has a context, filled up with 0 along an axis."""
        shape = [num_rows, *parts[0].shape[1:]]
        shape[axis] = max(part.shape[axis] for part in parts)
        filled = parts[0].new_zeros(shape)
        for (row, _), part in zip(rows, parts, strict=True):
            filled[row].narrow(axis - 1, 0, part.shape[axis]).copy_(part[0])
        return filled

    layers = range(len(first.keys))
    pooled = [context.pooled_BD for _, context in rows if context.pooled_BD is not None]
    biases = [context.biases for _, context in rows if context.biases is not None]
    return Context(
        keys=[stacked([context.keys[layer] for _, context in rows]) for layer in layers],
        values=[stacked([context.values[layer] for _, context in rows]) for layer in layers],
        visible_BL=stacked([_seen(context) for _, context in rows]),
        pooled_BD=stacked(pooled) if pooled else None,
        biases=[stacked([own[layer] for own in biases], axis=2) for layer in layers] if biases else None,
    )


def _seen(context: Context) -> Tensor:
    if context.visible_BL is not None:
        return context.visible_BL
    return context.keys[0].new_ones(context.keys[0].shape[:2], dtype=torch.bool)
