"""How tokens look at one another: causal, causal within packed documents, all, or by any additive mask.

Most of it ends in PyTorch's scaled_dot_product_attention. Unusual: bfloat16 on a CPU goes through plain
matrix products instead, two to three times quicker there, forward and backward; and a single new token
per sequence folds its group of query heads into the time axis, so grouped heads cost no copies of keys.

Letters: B batch, T tokens, S keys, H query heads, K key/value heads, N batch × query heads, E head width.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

BLOCK = 256
"""Queries whose scores are made at once; blocks see no keys beyond their end."""
MOST_TOKENS_BY_PRODUCTS = 2048
"""Longer sequences keep to PyTorch's kernel, which does not store their scores."""


class Attend(Protocol):
    """Mixes tokens: queries (B, T, H, E), keys and values (B, T, K, E) of one layer → (B, T, H, E)."""

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor: ...


class CausalAttention:
    """Every token sees itself and what came before, within its document where documents are given."""

    def __init__(self, documents_BT: Tensor | None = None, dtype: torch.dtype = torch.float32) -> None:
        self._mask_B1TT = None if documents_BT is None else additive_mask(document_mask(documents_BT), dtype)

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:  # noqa: ARG002
        return scaled_dot_product(queries, keys, values, self._mask_B1TT)


def document_mask(documents_BT: Tensor) -> Tensor:
    """Where query t may see key s, (B, 1, T, T): s is not later than t and belongs to the same document."""
    same_BTT = documents_BT[:, :, None] == documents_BT[:, None, :]
    return same_BTT.tril().unsqueeze(1)


def additive_mask(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a query may look, −∞ elsewhere."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, -math.inf)


def scaled_dot_product(
    queries_BTHE: Tensor,
    keys_BSKE: Tensor,
    values_BSKE: Tensor,
    mask: Tensor | None,
    *,
    causal: bool = True,
    scale: float | None = None,
) -> Tensor:
    """Attention under an additive mask in the queries' dtype; with none, plainly causal (S = T) or full.

    Scores are multiplied by `scale`, by default one over the root of the head width.
    """
    queries, keys, values = (x.transpose(1, 2) for x in (queries_BTHE, keys_BSKE, values_BSKE))
    if _products_are_quicker(queries):
        return _attend_by_products(queries, keys, values, mask, causal=causal, scale=scale).transpose(1, 2)
    mixed_BHTE = functional.scaled_dot_product_attention(
        queries,
        keys,
        values,
        attn_mask=mask,
        is_causal=causal and mask is None,
        scale=scale,
        enable_gqa=queries.shape[1] != keys.shape[1],
    )
    return mixed_BHTE.transpose(1, 2)


def attend_one(queries_B1HE: Tensor, keys_BSKE: Tensor, values_BSKE: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of one new token per sequence over all S keys that `mask` (B, 1, 1, S) leaves."""
    num_groups = keys_BSKE.shape[2]
    mixed_BKGE = functional.scaled_dot_product_attention(
        rearrange(queries_B1HE, "b 1 (k g) e -> b k g e", k=num_groups),
        keys_BSKE.transpose(1, 2),
        values_BSKE.transpose(1, 2),
        attn_mask=mask,
    )
    return rearrange(mixed_BKGE, "b k g e -> b 1 (k g) e")


def _products_are_quicker(queries_BHTE: Tensor) -> bool:
    """True where PyTorch's kernel lags: its CPU one runs bfloat16 at a tenth of the rate of products."""
    on_cpu_in_half = queries_BHTE.device.type == "cpu" and queries_BHTE.dtype == torch.bfloat16
    return on_cpu_in_half and 1 < queries_BHTE.shape[2] <= MOST_TOKENS_BY_PRODUCTS


def _attend_by_products(
    queries_BHTE: Tensor,
    keys_BKSE: Tensor,
    values_BKSE: Tensor,
    mask: Tensor | None,
    *,
    causal: bool,
    scale: float | None = None,
) -> Tensor:
    """Scores, softmax and mixture as whole matrices, a block of queries at a time."""
    scale = queries_BHTE.shape[-1] ** -0.5 if scale is None else scale
    num_heads, num_tokens = queries_BHTE.shape[1:3]
    group = num_heads // keys_BKSE.shape[1]
    if group > 1:
        keys_BKSE = keys_BKSE.repeat_interleave(group, 1)
        values_BKSE = values_BKSE.repeat_interleave(group, 1)
    queries_NTE, keys_NSE, values_NSE = (x.flatten(0, 1) for x in (queries_BHTE, keys_BKSE, values_BKSE))
    causal = causal and mask is None
    blocks = []
    for start in range(0, num_tokens, BLOCK):
        end = min(start + BLOCK, num_tokens)
        num_seen = end if causal else keys_NSE.shape[1]
        bias = _causal_rows(start, end, queries_NTE) if causal else _rows_of(mask, start, end, queries_BHTE)
        seen_keys, seen_values = keys_NSE[:, :num_seen], values_NSE[:, :num_seen]
        blocks.append(_Products.apply(queries_NTE[:, start:end], seen_keys, seen_values, bias, scale))
    mixed_NTE = blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)
    mixed_BHTE: Tensor = mixed_NTE.unflatten(0, (-1, num_heads))
    return mixed_BHTE


class _Products(torch.autograd.Function):
    """Attention of queries (N, T, E) over keys and values (N, S, E) under an additive bias (N, T, S).

    A bias that is not learned may have any shape that broadcasts to it.

    The backward forms the gradient of the keys as it forms that of the values, from the transposed
    scores: autograd's own order of that product is five times slower on CPUs.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor, scale: float
    ) -> Tensor:
        ctx.scale = scale
        shares = torch.softmax(torch.baddbmm(bias, queries, keys.transpose(1, 2), alpha=scale), dim=-1)
        ctx.save_for_backward(queries, keys, values, shares)
        return torch.bmm(shares, values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None, None]:
        queries, keys, values, shares = ctx.saved_tensors
        by_values = torch.bmm(shares.transpose(1, 2), gradient)
        by_shares = torch.bmm(gradient, values.transpose(1, 2))
        by_scores = torch._softmax_backward_data(by_shares, shares, -1, shares.dtype)
        by_queries = torch.bmm(by_scores, keys).mul_(ctx.scale)
        by_keys = torch.bmm(by_scores.transpose(1, 2), queries).mul_(ctx.scale)
        return by_queries, by_keys, by_values, by_scores if ctx.needs_input_grad[3] else None, None


def _causal_rows(start: int, end: int, like: Tensor) -> Tensor:
    rows = torch.full((end - start, end), -math.inf, dtype=like.dtype, device=like.device)
    return rows.triu_(start + 1)


def _rows_of(mask: Tensor | None, start: int, end: int, queries_BHTE: Tensor) -> Tensor:
    """The mask of these queries for every row of the product; a single 0 where there is none."""
    if mask is None:
        return queries_BHTE.new_zeros(1)
    rows = mask if mask.shape[-2] == 1 else mask[..., start:end, :]
    return rows.expand(*queries_BHTE.shape[:2], end - start, -1).flatten(0, 1)
