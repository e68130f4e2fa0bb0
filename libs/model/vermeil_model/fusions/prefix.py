"""Prefix: each tower reads what the other found as tokens of its own, made by a small projector.

A given picture becomes as many tokens as it has patches, at its place among the text, as in LLaVA (arXiv
2304.08485) and nanoVLM. Turned around, text becomes condition tokens of the image tower, as captions are.
Text is told of pictures from the start; pictures heed their condition as far as `openness` goes: shut, they
are the backbone's.

Letters: B rows, T text tokens, M pictures, P patches, D width, L tokens read, G pictures to be drawn.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from vermeil_model.accounting import layer_matrices
from vermeil_model.attention import CausalAttention
from vermeil_model.context import Context, PatchAttention, Reading
from vermeil_model.fused_config import FusedConfig
from vermeil_model.fused_memory import Kept, Memory, MemoryAttention
from vermeil_model.fused_model import options_of
from vermeil_model.image_sampling import Denoiser
from vermeil_model.initial import draw_weight
from vermeil_model.joint_attention import JointAttention
from vermeil_model.layers import Linear
from vermeil_model.linear import compute_dtype
from vermeil_model.opening import Opening, log_gate
from vermeil_model.packed_image import PackedImageModel
from vermeil_model.picture_stream import PictureStream
from vermeil_model.rotary import Rotary, rotate
from vermeil_model.spans import NO_SAMPLE, MixedInputs, spans_of
from vermeil_model.staged import Staged, ToDraw, attention_flops
from vermeil_model.text_form import TextForm

STATES = "states"


@dataclass(frozen=True)
class PrefixOptions:
    """There is nothing to choose."""


class Projector(nn.Module):
    """States of one tower as tokens of the other: two matrices."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.rise = Linear(num_in, num_out)
        self.mix = Linear(num_out, num_out)

    def forward(self, states_BLD: Tensor) -> Tensor:
        """(…, D of one tower) → (…, D of the other)."""
        tokens_BLD: Tensor = self.mix(functional.gelu(self.rise(states_BLD)))
        return tokens_BLD

    def flops(self) -> float:
        """Operations of one token."""
        return 2.0 * (self.rise.weight.numel() + self.mix.weight.numel())


class Projectors(Opening):
    """Both directions."""

    def __init__(self, config: FusedConfig) -> None:
        super().__init__()
        self.to_text = Projector(config.image.width, config.text.width)
        self.to_image = Projector(config.text.width, config.image.width)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`."""
        for name, weight in self.named_parameters():
            draw_weight(name, weight, generator, num_layers=1)


class Prefix(Staged):
    """Towers that read one another as a prefix."""

    joint: Projectors

    def __init__(self, config: FusedConfig) -> None:
        super().__init__(config)
        length = config.text.context_length + config.picture_stride
        self.text.rotary = Rotary(dataclasses.replace(config.text, context_length=length))
        self.joint = Projectors(config)
        if not self.text.embedding.weight.is_meta:
            self.joint.init_weights(torch.Generator().manual_seed(0))

    @classmethod
    def check(cls, config: FusedConfig) -> None:
        """Any two towers will do."""
        options_of(PrefixOptions, config.options)

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`."""
        super().init_weights(generator)
        self.joint.init_weights(generator)

    def set_openness(self, openness: float) -> None:
        """How much pictures that are drawn heed their condition: not at all (0), or freely (1)."""
        self.joint.set_openness(openness)

    def write(self, inputs: MixedInputs, states_BMPD: Tensor | None) -> Tensor:
        """Text with pictures among it."""
        text, num_tokens = self.text, inputs.tokens_BT.shape[1]
        num_patches, dtype = self.config.image.num_patches, compute_dtype(text.embedding.weight)
        sizes = (num_tokens, num_patches, self.config.text.num_heads)
        attend = JointAttention(spans_of(inputs, num_patches), *sizes, dtype, None)
        positions_BT = inputs.text_position_BT.clamp_min(0)
        if states_BMPD is None:
            return text.transform(inputs.tokens_BT, positions_BT, attend.within_row)
        tokens_BSD = self.joint.to_text(states_BMPD).flatten(1, 2)
        x_BSD = torch.cat((text.embedding(inputs.tokens_BT).to(dtype), tokens_BSD.to(dtype)), 1)
        of_pictures = self.picture_positions(inputs.picture_position_BM.flatten())
        of_pictures = of_pictures.reshape(3, len(positions_BT), -1)
        positions = torch.cat((positions_BT.expand(3, -1, -1), of_pictures), 2)
        return text.transform_embedded(x_BSD, positions, attend.within_row)[:, :num_tokens]

    def draw(self, inputs: MixedInputs, hidden_BTD: Tensor, pictures: ToDraw) -> Tensor:
        """Pictures under what was written before them."""
        positions_BT = inputs.text_position_BT.clamp_min(0)
        context = self._condition(hidden_BTD, positions_BT, inputs.text_sample_BT)
        context = context.rows(pictures.rows_G)._replace(visible_BL=pictures.visible_GT)
        stream = PictureStream(self, pictures.images_GCHW, pictures.times_G, pictures.positions_G)
        dtype = compute_dtype(self.image.position)
        stream.run(PatchAttention(context, self.config.image.num_patches, dtype))
        return stream.predicted()

    def _condition(self, hidden_BLD: Tensor, positions_BL: Tensor, documents_BL: Tensor) -> Context:
        """What text says to the image tower; its tokens see those before them in their document."""
        dtype = compute_dtype(self.image.position)
        reading = Reading(CausalAttention(documents_BL, dtype))
        x_BLD = self.joint.to_image(hidden_BLD).to(dtype)
        rotation = self.image.rotary(positions_BL, dtype)
        for index, layer in enumerate(self.image.layers):
            x_BLD = layer(x_BLD, rotation, reading, index)
        bias_B1L = log_gate(self.joint.openness).expand(len(x_BLD), 1, x_BLD.shape[1])
        return Context(reading.keys, reading.values, None, None, [bias_B1L] * len(reading.keys))

    def kept(self) -> Kept:
        """Also the states of the text, which conditions are made of."""
        return Kept({**super().kept().of_text, STATES: (1, self.config.text.width)})

    def take_text(self, memory: Memory, tokens_BT: Tensor, positions_BT: Tensor, form: TextForm) -> Tensor:
        """Write text into a memory, which does not count it yet; its normalised states, (B, T, D)."""
        attend = MemoryAttention(memory.text, tokens_BT.shape[1])
        hidden_BTD = form.tower.transform(tokens_BT, positions_BT, attend)
        memory.text.put(STATES, 0, attend.slots, hidden_BTD)
        return hidden_BTD

    def take_picture(self, memory: Memory, images_BCHW: Tensor, positions_B: Tensor) -> None:
        """Write a given picture into every row of a memory, which does not count it yet."""
        tokens_BPD = self.joint.to_text(self.see(images_BCHW).states_GPD)
        attend = MemoryAttention(memory.text, self.config.image.num_patches, of_picture=True)
        self.text.transform_embedded(tokens_BPD, self.picture_positions(positions_B), attend)

    @torch.no_grad()
    def context(self, memory: Memory) -> Context:
        """What has been written, turned as if the picture to be drawn began at position 0."""
        track = memory.text
        places_L = torch.arange(track.longest, device=track.device)
        of_picture_BL = track.of_pictures()
        read_BL = track.filled() & ~of_picture_BL
        patches_BL = of_picture_BL.cumsum(1)
        pictures_BL = patches_BL // self.config.image.num_patches
        positions_BL = places_L - patches_BL + pictures_BL * self.config.picture_stride
        positions_BL = positions_BL.where(read_BL, 0)
        documents_BL = torch.where(read_BL, 0, NO_SAMPLE)
        states_BLD = track.held(STATES)[0]
        context = self._condition(states_BLD, positions_BL, documents_BL)
        cosine, sine = self.image.rotary(memory.next_positions(1), states_BLD.dtype)
        turned = [rotate(keys_BLKE, cosine, -sine) for keys_BLKE in context.keys]
        return context._replace(keys=turned, visible_BL=read_BL)

    def painter(self) -> Denoiser:
        """A frozen form of the image tower."""
        return PackedImageModel(self.image)

    def flops(self, num_tokens: int, num_pictures: int) -> float:
        """Operations of one row's forward pass; pictures are counted as given and as drawn."""
        total = self.tower_flops(num_tokens, num_pictures)
        if not num_pictures:
            return total
        text, image = self.config.text, self.config.image
        num_patches = num_pictures * image.num_patches
        num_slots = num_tokens + num_patches
        total += num_patches * (2.0 * text.depth * layer_matrices(text) + self.joint.to_text.flops())
        total += attention_flops(text, num_slots, num_slots) - attention_flops(text, num_tokens, num_tokens)
        total += num_tokens * (2.0 * image.depth * layer_matrices(image.tower) + self.joint.to_image.flops())
        return total + attention_flops(image.tower, num_tokens + num_patches, num_tokens)
