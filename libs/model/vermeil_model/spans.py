"""Who sees whom in rows of text and pictures: one rule, which every backend takes in its own form.

A row lies in memory as [all its text][all its pictures]; which came first is written down in orders, for
attention does not care how keys lie. A token of text is a span of its own, a picture one of all its
patches. Nothing here knows a network.

Letters: B rows, T text slots, M picture slots, P patches of a picture, S = T + M·P slots.
"""
# ruff: noqa: N802, N815

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

NO_SAMPLE = -1
"""The sample of a slot that holds nothing."""
READS_PICTURES, READS_TEXT = 0, 1
"""Directions of attention between modalities: text that looks at pictures, pictures that look at text."""


class MixedInputs(Protocol):
    """Rows of several samples each, text and pictures, as a loader of mixtures gives them."""

    @property
    def tokens_BT(self) -> Tensor:
        """int64 token ids."""

    @property
    def text_sample_BT(self) -> Tensor:
        """Number of the sample within its row; −1 where nothing is."""

    @property
    def text_order_BT(self) -> Tensor:
        """Grows by 1 a token within the row."""

    @property
    def text_position_BT(self) -> Tensor:
        """Rotary position, from 0 in every sample."""

    @property
    def picture_sample_BM(self) -> Tensor:
        """Number of the sample within its row; −1 where nothing is."""

    @property
    def picture_order_BM(self) -> Tensor:
        """Between that of the text before and after it."""

    @property
    def picture_position_BM(self) -> Tensor:
        """Rotary position of its first patch."""

    @property
    def picture_noisy_BM(self) -> Tensor:
        """True where the picture is to be drawn, false where it is given."""


class Spans(NamedTuple):
    """What the rule asks of every slot, each (B, S)."""

    sample_BS: Tensor
    order_BS: Tensor
    span_BS: Tensor
    """Slots of one span have the same number, and no others in their row."""
    noisy_BS: Tensor
    """Only its own span sees it."""
    alone_BS: Tensor
    """It sees only its own span."""


def spans_of(inputs: MixedInputs, num_patches: int, prompted_BM: Tensor | None = None) -> Spans:
    """The spans of rows; a noisy picture that is not `prompted` sees nothing but itself."""
    num_tokens, num_pictures = inputs.tokens_BT.shape[1], inputs.picture_sample_BM.shape[1]
    noisy_BM = inputs.picture_noisy_BM
    alone_BM = torch.zeros_like(noisy_BM) if prompted_BM is None else noisy_BM & ~prompted_BM
    plain_BT = torch.zeros_like(inputs.tokens_BT, dtype=torch.bool)
    numbers_S = torch.arange(num_tokens + num_pictures, device=noisy_BM.device)
    numbers_BS = numbers_S.expand(len(noisy_BM), -1)

    def joined(text_BT: Tensor, pictures_BM: Tensor) -> Tensor:
        return torch.cat((text_BT, pictures_BM.repeat_interleave(num_patches, 1)), 1)

    return Spans(
        sample_BS=joined(inputs.text_sample_BT, inputs.picture_sample_BM),
        order_BS=joined(inputs.text_order_BT, inputs.picture_order_BM),
        span_BS=joined(numbers_BS[:, :num_tokens], numbers_BS[:, num_tokens:]),
        noisy_BS=joined(plain_BT, noisy_BM),
        alone_BS=joined(plain_BT, alone_BM),
    )


def visible(spans: Spans, row: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """The rule: may slot `query` of a row look at slot `key`? Indices of any shapes that broadcast.

    Everybody sees their own span, a slot that holds nothing too, so that no query is left without a key.
    """
    sample, order = spans.sample_BS, spans.order_BS
    same_span = spans.span_BS[row, query] == spans.span_BS[row, key]
    same_sample = (sample[row, query] == sample[row, key]) & (sample[row, query] != NO_SAMPLE)
    later = order[row, key] < order[row, query]
    barred = spans.noisy_BS[row, key] | spans.alone_BS[row, query]
    return same_span | (same_sample & later & ~barred)


def boolean_mask(spans: Spans) -> Tensor:
    """The rule as a table, (B, 1, S, S)."""
    num_rows, num_slots = spans.sample_BS.shape
    device = spans.sample_BS.device
    rows = torch.arange(num_rows, device=device)[:, None, None]
    slots = torch.arange(num_slots, device=device)
    return visible(spans, rows, slots[:, None], slots).unsqueeze(1)
