"""Towers that hand each other what they found in the end, in three stages.

Given pictures go through the image tower by themselves; text is read with what became of those before it;
pictures are drawn with what became of the text before them. The towers may differ in all their sizes.
Unusual: on a CPU a picture goes through its tower once, as what it is; elsewhere, where shapes must not
follow data, all of them go through it once as given and once as drawn.

Letters: B rows, T text tokens, M picture slots, N = B·M, G those of one kind, P patches, D width.
"""
# ruff: noqa: N815

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from vermeil_model.accounting import image_flops, layer_matrices
from vermeil_model.config import ModelConfig
from vermeil_model.context import PatchAttention
from vermeil_model.fused_model import GIVEN_TIME, FusedModel, FusedOutput
from vermeil_model.linear import compute_dtype
from vermeil_model.picture_stream import PictureStream
from vermeil_model.spans import NO_SAMPLE, MixedInputs, boolean_mask, spans_of


class Seen(NamedTuple):
    """Given pictures, as the image tower alone sees them."""

    states_GPD: Tensor
    """The normalised residual stream after its last layer."""
    predicted_GCHW: Tensor


class ToDraw(NamedTuple):
    """Pictures to be drawn."""

    images_GCHW: Tensor
    times_G: Tensor
    positions_G: Tensor
    rows_G: Tensor
    """Whose text they read."""
    visible_GT: Tensor
    """Which tokens of it."""


class Staged(FusedModel):
    """The stages; what a tower makes of the other's states is a fusion's own."""

    def forward(
        self,
        inputs: MixedInputs,
        images_BMCHW: Tensor,
        times_BM: Tensor,
        prompted_BM: Tensor | None = None,
    ) -> FusedOutput:
        """Rows of text and pictures, read at once."""
        self.check_inputs(inputs, images_BMCHW)
        (num_rows, num_tokens), num_pictures = inputs.tokens_BT.shape, images_BMCHW.shape[1]
        if not num_pictures:
            return FusedOutput(self.write(inputs, None), images_BMCHW)
        images_NCHW, noisy_N = images_BMCHW.flatten(0, 1), inputs.picture_noisy_BM.flatten()
        given_G = _places(~noisy_N & (inputs.picture_sample_BM.flatten() != NO_SAMPLE))
        seen = self.see(images_NCHW[given_G])
        states_NPD = _spread(seen.states_GPD, given_G, len(noisy_N))
        hidden_BTD = self.write(inputs, states_NPD.view(num_rows, num_pictures, *states_NPD.shape[1:]))
        visible_BMT = boolean_mask(spans_of(inputs, 1, prompted_BM))[:, 0, num_tokens:, :num_tokens]
        drawn_G = _places(noisy_N)
        to_draw = ToDraw(
            images_GCHW=images_NCHW[drawn_G],
            times_G=times_BM.flatten().where(noisy_N, GIVEN_TIME)[drawn_G],
            positions_G=inputs.picture_position_BM.flatten()[drawn_G],
            rows_G=drawn_G // num_pictures,
            visible_GT=visible_BMT.flatten(0, 1)[drawn_G] & noisy_N[drawn_G, None],
        )
        predicted_GCHW = self.draw(inputs, hidden_BTD, to_draw)
        predicted_NCHW = _spread(seen.predicted_GCHW, given_G, len(noisy_N))
        predicted_NCHW = predicted_NCHW.index_copy(0, drawn_G, predicted_GCHW)
        return FusedOutput(hidden_BTD, predicted_NCHW.view(images_BMCHW.shape))

    @abstractmethod
    def write(self, inputs: MixedInputs, states_BMPD: Tensor | None) -> Tensor:
        """The normalised residual stream of the text, (B, T, D), that heeds what was seen before it."""

    @abstractmethod
    def draw(self, inputs: MixedInputs, hidden_BTD: Tensor, pictures: ToDraw) -> Tensor:
        """The clean pictures expected, (G, C, H, W), of what the text has become."""

    def see(self, images_GCHW: Tensor) -> Seen:
        """Given pictures through the image tower, which is told nothing."""
        times_G = torch.full((len(images_GCHW),), GIVEN_TIME, device=images_GCHW.device)
        stream = PictureStream(self, images_GCHW, times_G, torch.zeros_like(times_G, dtype=torch.long))
        image = self.image
        stream.run(PatchAttention(None, image.config.num_patches, compute_dtype(image.position)))
        return Seen(image.norm(stream.x_NPD), stream.predicted())

    def tower_flops(self, num_tokens: int, num_pictures: int) -> float:
        """Operations of the towers alone, on one row; each attends to its own."""
        text, image, num_patches = self.config.text, self.config.image, self.config.image.num_patches
        of_token = 2.0 * (text.depth * layer_matrices(text) + text.vocab_size * text.width)
        of_picture = image_flops(image) + attention_flops(image.tower, num_patches, num_patches)
        times_seen = 1 if self.image.position.device.type == "cpu" else 2
        attention = attention_flops(text, num_tokens, num_tokens)
        return attention + num_tokens * of_token + times_seen * num_pictures * of_picture


def attention_flops(config: ModelConfig, num_queries: int, num_keys: int) -> float:
    """Operations of all layers' attention; in full, as it is computed."""
    return config.depth * 4.0 * config.num_heads * config.head_width * num_queries * num_keys


def _places(chosen_N: Tensor) -> Tensor:
    """Which slots are worked on, (G): the chosen ones, or all, so that shapes follow no data.

    At least one, so that every weight has a gradient in every step.
    """
    if chosen_N.device.type != "cpu":
        return torch.arange(len(chosen_N), device=chosen_N.device)
    found_G = chosen_N.nonzero().flatten()
    return found_G if len(found_G) else torch.zeros(1, dtype=torch.long)


def _spread(found_G: Tensor, places_G: Tensor, num_slots: int) -> Tensor:
    """What was found in some slots, and 0 in the others."""
    return found_G.new_zeros(num_slots, *found_G.shape[1:]).index_copy(0, places_G, found_G)
