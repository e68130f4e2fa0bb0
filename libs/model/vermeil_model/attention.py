"""How tokens look at one another: causal, causal within packed documents, or through a cache.

All of it ends in PyTorch's scaled_dot_product_attention; what differs is which keys a query may see.
Unusual: a single new token per sequence folds its group of query heads into the time axis, so grouped
heads cost no copies of keys while decoding.

Letters: B batch, T tokens, S keys, H query heads, K key/value heads, E head width.
"""

from __future__ import annotations

from typing import Protocol

from einops import rearrange
from torch import Tensor
from torch.nn import functional


class Attend(Protocol):
    """Mixes tokens: queries (B, T, H, E), keys and values (B, T, K, E) of one layer → (B, T, H, E)."""

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor: ...


class CausalAttention:
    """Every token sees itself and what came before, within its document where documents are given."""

    def __init__(self, documents_BT: Tensor | None = None) -> None:
        self._mask_B1TT = None if documents_BT is None else document_mask(documents_BT)

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:  # noqa: ARG002
        return scaled_dot_product(queries, keys, values, self._mask_B1TT)


def document_mask(documents_BT: Tensor) -> Tensor:
    """Where query t may see key s, (B, 1, T, T): s is not later than t and belongs to the same document."""
    same_BTT = documents_BT[:, :, None] == documents_BT[:, None, :]
    return same_BTT.tril().unsqueeze(1)


def scaled_dot_product(
    queries_BTHE: Tensor, keys_BSKE: Tensor, values_BSKE: Tensor, mask: Tensor | None
) -> Tensor:
    """Attention under `mask` (true or 0 where a query may look); with no mask, plainly causal (S = T)."""
    mixed_BHTE = functional.scaled_dot_product_attention(
        queries_BTHE.transpose(1, 2),
        keys_BSKE.transpose(1, 2),
        values_BSKE.transpose(1, 2),
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=queries_BTHE.shape[2] != keys_BSKE.shape[2],
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
