"""Attention of text and pictures as one sequence, with a gate on every score between the two.

Backends: plain products and scaled_dot_product_attention through `scaled_dot_product`, FlexAttention on
an accelerator. Unusual: a gate's logarithm is not a mask but eight more entries of every query and key,
whose product adds it to the score: no table of it is ever made, and its gradient is that of a query
(eight, not the two needed, for products of odd width are slower).

Letters: B rows, T text tokens, J patches of all pictures of a row, S = T + J, N all pictures or layers, Q
queries, H query heads, K key/value heads, E head width, M pictures of a row, X extra entries.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vermeil_model.attention import additive_mask, scaled_dot_product
from vermeil_model.spans import READS_PICTURES, READS_TEXT, Spans, boolean_mask

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
    """Made for one forward pass; `bias_NH2` holds log α of every layer and head, none means α = 1.

    On a CPU, where no picture sees another, each attends to itself and to text alone: in rows of many
    pictures that saves most of the work.
    """

    def __init__(
        self,
        spans: Spans,
        num_tokens: int,
        num_patches: int,
        num_heads: int,
        dtype: torch.dtype,
        bias_NH2: Tensor | None,
        backend: Backend | None = None,
    ) -> None:
        device = spans.sample_BS.device
        self._num_tokens, self._num_patches = num_tokens, num_patches
        self._bias_NH2 = bias_NH2
        self._flex = (backend or ("dense" if device.type == "cpu" else "flex")) == "flex"
        if self._flex:
            from vermeil_model.flex import FlexAttention  # noqa: PLC0415 - torch takes seconds to import it

            self._attend_by_blocks = FlexAttention(spans, num_tokens)
            return
        visible_BSS = boolean_mask(spans)[:, 0]
        of_picture_S = torch.arange(visible_BSS.shape[1], device=device) >= num_tokens
        of_text_BTS, of_pictures_BJS = visible_BSS[:, :num_tokens], visible_BSS[:, num_tokens:]
        self._text = _Queries(of_text_BTS, of_picture_S, num_heads, dtype)
        self._apart = device.type == "cpu" and _are_apart(of_pictures_BJS[..., num_tokens:], num_patches)
        if self._apart:
            of_first_NT = of_pictures_BJS[:, ::num_patches, :num_tokens].flatten(0, 1)
            of_pictures_BJS = functional.pad(of_first_NT, (0, num_patches), value=True)[:, None]
            of_picture_S = of_picture_S[: num_tokens + num_patches]
        self._pictures = _Queries(of_pictures_BJS, ~of_picture_S, num_heads, dtype)

    def __call__(self, text: Heads, pictures: Heads, layer: int) -> tuple[Tensor, Tensor]:
        """What text (B, T, H, E) and pictures (B, J, H, E) find."""
        bias_H2 = None if self._bias_NH2 is None else self._bias_NH2[layer]
        joined = Heads(*(torch.cat(parts, 1) for parts in zip(text, pictures, strict=True)))
        if self._flex:
            mixed = self._attend_by_blocks(*joined, bias_H2)
            return mixed[:, : self._num_tokens], mixed[:, self._num_tokens :]
        of_text = self._text(text.queries, joined, None if bias_H2 is None else bias_H2[:, READS_PICTURES])
        if not pictures.queries.shape[1]:
            return of_text, pictures.queries
        bias_H = None if bias_H2 is None else bias_H2[:, READS_TEXT]
        if not self._apart:
            return of_text, self._pictures(pictures.queries, joined, bias_H)
        apart = Heads(*(part.reshape(-1, self._num_patches, *part.shape[2:]) for part in pictures))
        num_pictures = len(apart.keys) // len(text.keys)
        spread = (part.repeat_interleave(num_pictures, 0) for part in text)
        seen = Heads(*(torch.cat(parts, 1) for parts in zip(spread, apart, strict=True)))
        return of_text, self._pictures(apart.queries, seen, bias_H).reshape(pictures.queries.shape)

    def within_row(self, queries: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:
        """The same for rows of one tower, (B, S, H, E): all their text, then their pictures, if any."""
        sizes = [self._num_tokens, queries.shape[1] - self._num_tokens]
        parts = [torch.split(x, sizes, 1) for x in (queries, keys, values)]
        text, pictures = (Heads(*of_one) for of_one in zip(*parts, strict=True))
        return torch.cat(self(text, pictures, layer), 1)


class _Queries:
    """Attention of one modality, and which of the keys are of the other."""

    def __init__(self, visible_BQS: Tensor, other_S: Tensor, num_heads: int, dtype: torch.dtype) -> None:
        mask_B1QS = additive_mask(visible_BQS[:, None], dtype)
        by_products = mask_B1QS.device.type == "cpu" and dtype == torch.bfloat16
        self._mask = mask_B1QS.expand(-1, num_heads, -1, -1).contiguous() if by_products else mask_B1QS
        self._marks_SX = functional.pad(other_S[:, None].to(dtype), (0, NUM_EXTRA - 1))

    def __call__(self, queries: Tensor, heads: Heads, bias_H: Tensor | None) -> Tensor:
        _, keys, values = heads
        if bias_H is None:
            return scaled_dot_product(queries, keys, values, self._mask, causal=False)
        width = queries.shape[-1]
        extra_HX = functional.pad((bias_H * width**0.5).to(queries.dtype)[:, None], (0, NUM_EXTRA - 1))
        queries = torch.cat((queries, extra_HX.expand(*queries.shape[:2], -1, -1)), -1)
        keys = torch.cat((keys, self._marks_SX[:, None].expand(*keys.shape[:3], -1)), -1)
        if queries.dtype != torch.bfloat16 or queries.device.type != "cpu":
            values = functional.pad(values, (0, NUM_EXTRA))  # PyTorch's kernels want all of one width
        return scaled_dot_product(queries, keys, values, self._mask, scale=width**-0.5)[..., :width]


def _are_apart(visible_BJJ: Tensor, num_patches: int) -> bool:
    """True where no patch may look at another picture's."""
    between_BMM = visible_BJJ[:, ::num_patches, ::num_patches]
    return not bool(between_BMM.triu(1).any() or between_BMM.tril(-1).any())
