"""FlexAttention under the rule of spans: what joint attention runs on where there is an accelerator.

Imported only there, for torch takes seconds to import its own part of it. On a CPU it gives the same, slowly
and without gradients: for tests.

Letters: B rows, S slots, H query heads, K key/value heads, E head width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from vermeil_model.spans import READS_PICTURES, READS_TEXT, Spans, visible

BLOCK = 128
"""Slots along an edge of what is skipped or computed as a whole."""


class FlexAttention:
    """Made for one forward pass; the first `num_tokens` slots of a row are its text."""

    def __init__(self, spans: Spans, num_tokens: int) -> None:
        self._num_tokens = num_tokens
        self._blocks = block_mask(spans)

    def __call__(
        self, queries_BSHE: Tensor, keys_BSKE: Tensor, values_BSKE: Tensor, bias_H2: Tensor | None
    ) -> Tensor:
        """(B, S, H, E); a bias is log α by direction."""
        queries, keys, values = (x.transpose(1, 2) for x in (queries_BSHE, keys_BSKE, values_BSKE))
        score = None if bias_H2 is None else _gates(bias_H2, self._num_tokens)
        attend = _compiled(queries.device.type)
        mixed = attend(queries, keys, values, score_mod=score, block_mask=self._blocks, enable_gqa=True)
        return mixed.transpose(1, 2)


def block_mask(spans: Spans) -> BlockMask:
    """The rule as FlexAttention takes it."""
    num_rows, num_slots = spans.sample_BS.shape

    def mask_mod(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
        return visible(spans, row, query, key)

    device = str(spans.sample_BS.device)
    return create_block_mask(mask_mod, num_rows, None, num_slots, num_slots, device=device, BLOCK_SIZE=BLOCK)


def _gates(bias_H2: Tensor, num_tokens: int) -> Callable[..., Tensor]:
    """What is added to a score."""

    def score_mod(score: Tensor, row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:  # noqa: ARG001
        from_text, to_text = query < num_tokens, key < num_tokens
        direction = torch.where(from_text, READS_PICTURES, READS_TEXT)
        return score + torch.where(from_text == to_text, 0.0, bias_H2[head, direction])

    return score_mod


@functools.cache
def _compiled(device: str) -> Callable[..., Tensor]:
    attend = flex_attention if device == "cpu" else torch.compile(flex_attention)
    return cast("Callable[..., Tensor]", attend)
