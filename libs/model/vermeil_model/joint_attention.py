"""Attention of text and pictures as one sequence, with a gate on every score between the two.

Backends: plain products and scaled_dot_product_attention through `scaled_dot_product`, FlexAttention on
an accelerator. Unusual: a gate's logarithm is not a mask but eight more entries of every query and key,
whose product adds it to the score: no table of it is ever made, and its gradient is that of a query
(eight, not the two needed, for products of odd width are slower).

Letters: B rows, T text tokens, J patches of all pictures of a row, S = T + J, H query heads, K key/value
heads, E head width.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vermeil_model.attention import scaled_dot_product
from vermeil_model.spans import Spans, span_mask

Backend = Literal["dense", "flex"]
NUM_EXTRA = 8


class Heads(NamedTuple):
    """Of one tower, in one layer."""

    queries: Tensor
    """(B, T, H, E)"""
    keys: Tensor
    """(B, T, K, E)"""
    values: Tensor
    """(B, T, K, E)"""


class JointAttention:
    """Made for one forward pass; `bias_NH2` holds log α of every layer and head, none means α = 1."""

    def __init__(
        self,
        spans: Spans,
        num_tokens: int,
        num_heads: int,
        dtype: torch.dtype,
        bias_NH2: Tensor | None,
        backend: Backend | None = None,
    ) -> None:
        device = spans.sample_BS.device
        self._num_tokens = num_tokens
        self._bias_NH2 = bias_NH2
        self._flex = (backend or ("dense" if device.type == "cpu" else "flex")) == "flex"
        if self._flex:
            from vermeil_model.flex import FlexAttention  # noqa: PLC0415 - torch takes seconds to import it

            self._attend_by_blocks = FlexAttention(spans, num_tokens)
            return
        mask_B1SS = span_mask(spans, dtype)
        by_products = device.type == "cpu" and dtype == torch.bfloat16
        self._mask = mask_B1SS.expand(-1, num_heads, -1, -1).contiguous() if by_products else mask_B1SS
        if bias_NH2 is not None:
            is_text_S1 = torch.arange(spans.sample_BS.shape[1], device=device)[:, None] < num_tokens
            marks_SX = torch.cat((~is_text_S1, is_text_S1), 1).to(dtype)
            self._marks_SX = functional.pad(marks_SX, (0, NUM_EXTRA - 2))

    def __call__(self, text: Heads, pictures: Heads, layer: int) -> tuple[Tensor, Tensor]:
        """What text (B, T, H, E) and pictures (B, J, H, E) find."""
        joined = Heads(*(torch.cat(parts, 1) for parts in zip(text, pictures, strict=True)))
        if self._flex:
            bias_H2 = None if self._bias_NH2 is None else self._bias_NH2[layer]
            mixed = self._attend_by_blocks(*joined, bias_H2)
        elif self._bias_NH2 is None:
            mixed = scaled_dot_product(*joined, self._mask)
        else:
            mixed = self._attend_gated(joined, self._bias_NH2[layer])
        return mixed[:, : self._num_tokens], mixed[:, self._num_tokens :]

    def within_text(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:
        """What text finds where there are no pictures."""
        none = Heads(*(x[:, :0] for x in (queries, keys, values)))
        return self(Heads(queries, keys, values), none, layer)[0]

    def _attend_gated(self, heads: Heads, bias_H2: Tensor) -> Tensor:
        queries, keys, values = heads
        width = queries.shape[-1]
        num_rows, num_slots, num_keys = keys.shape[:3]
        counts = (self._num_tokens, num_slots - self._num_tokens)
        extra_HX = torch.diag_embed(bias_H2 * width**0.5).to(queries.dtype)  # (H, 2, 2): a row a direction
        extra_2HX = functional.pad(extra_HX.transpose(0, 1), (0, NUM_EXTRA - 2))
        extra_SHX = torch.cat([e.expand(n, -1, -1) for e, n in zip(extra_2HX, counts, strict=True)])
        queries = torch.cat((queries, extra_SHX.expand(num_rows, -1, -1, -1)), -1)
        marks = self._marks_SX[:, None].expand(num_rows, -1, num_keys, -1)
        keys = torch.cat((keys, marks), -1)
        if queries.dtype != torch.bfloat16 or queries.device.type != "cpu":
            values = functional.pad(values, (0, NUM_EXTRA))  # PyTorch's kernels want all of one width
        return scaled_dot_product(queries, keys, values, self._mask, scale=width**-0.5)[..., :width]
