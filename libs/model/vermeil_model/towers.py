"""Towers of equal heads that attend jointly: text and pictures have weights of their own, layer by layer.

How much one modality heeds the other is a number per layer, head and direction (`log_gates`); fusions
differ in where these and the weights come from.

Letters: B rows, T text tokens, M pictures, N all pictures or layers, P patches, D width, H query heads,
S slots of a memory, L tokens read.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vermeil_model.accounting import image_flops, layer_matrices
from vermeil_model.context import Context
from vermeil_model.fused_config import FusedConfig
from vermeil_model.fused_memory import KEYS, VALUES, Memory, MemoryAttention
from vermeil_model.fused_model import GIVEN_TIME, FusedModel, FusedOutput
from vermeil_model.image_sampling import Denoiser
from vermeil_model.joint_attention import Heads, JointAttention
from vermeil_model.layers import Block
from vermeil_model.linear import compute_dtype
from vermeil_model.packed_image import PackedImageModel
from vermeil_model.picture_stream import PictureStream
from vermeil_model.rotary import rotate
from vermeil_model.spans import READS_PICTURES, READS_TEXT, MixedInputs, spans_of
from vermeil_model.text_form import TextForm


class Towers(FusedModel):
    """Joint attention of two towers; without gates every score counts as it is."""

    @classmethod
    def check(cls, config: FusedConfig) -> None:
        """Towers must agree in all that attention is made of."""
        config.check_equal("depth", "num_heads", "num_key_value_heads", "head_width")

    def log_gates(self) -> Tensor | None:
        """log α, (layers, H, 2), by READS_PICTURES and READS_TEXT; none where all are 0."""
        return None

    def forward(
        self,
        inputs: MixedInputs,
        images_BMCHW: Tensor,
        times_BM: Tensor,
        prompted_BM: Tensor | None = None,
    ) -> FusedOutput:
        """Rows of text and pictures, read at once."""
        self.check_inputs(inputs, images_BMCHW)
        config, tokens_BT = self.config, inputs.tokens_BT
        dtype = compute_dtype(self.text.embedding.weight)
        spans = spans_of(inputs, config.image.num_patches, prompted_BM)
        sizes = (tokens_BT.shape[1], config.image.num_patches, config.text.num_heads)
        attend = JointAttention(spans, *sizes, dtype, self.log_gates())
        positions_BT = inputs.text_position_BT.clamp_min(0)
        if not images_BMCHW.shape[1]:
            return FusedOutput(self.text.transform(tokens_BT, positions_BT, attend.within_row), images_BMCHW)
        times_BM = times_BM.where(inputs.picture_noisy_BM, GIVEN_TIME)
        positions_N = inputs.picture_position_BM.flatten()
        pictures = PictureStream(self, images_BMCHW.flatten(0, 1), times_BM.flatten(), positions_N)
        rotation = self.text.rotary(positions_BT, dtype)
        x_BTD = self.text.embedding(tokens_BT).to(dtype)
        for index in range(config.text.depth):
            x_BTD, pictures.x_NPD = self.joint_layer(x_BTD, pictures.x_NPD, rotation, pictures, attend, index)
        return FusedOutput(self.text.norm(x_BTD), pictures.predicted().view(images_BMCHW.shape))

    def joint_layer(
        self,
        x_BTD: Tensor,
        x_NPD: Tensor,
        rotation: tuple[Tensor, Tensor],
        pictures: PictureStream,
        attend: JointAttention,
        index: int,
    ) -> tuple[Tensor, Tensor]:
        """One layer of both towers; nothing but its results changes, so that it can be computed again."""
        of_text, of_pictures = self._blocks(index)
        modulation, num_rows = pictures.modulation(index), len(x_BTD)
        text = Heads(*of_text.open(x_BTD, rotation))
        opened = of_pictures.open(x_NPD, pictures.rotation, modulation)
        in_rows = Heads(*(part.reshape(num_rows, -1, *part.shape[2:]) for part in opened))
        text_mixed, picture_mixed = attend(text, in_rows, index)
        drawn_NPD = of_pictures.close(x_NPD, picture_mixed.reshape(opened[0].shape), modulation)
        return of_text.close(x_BTD, text_mixed), drawn_NPD

    def _blocks(self, index: int) -> tuple[Block, Block]:
        of_text, of_pictures = self.text.layers[index], self.image.layers[index]
        assert isinstance(of_text, Block)
        assert isinstance(of_pictures, Block)
        return of_text, of_pictures

    def take_text(self, memory: Memory, tokens_BT: Tensor, positions_BT: Tensor, form: TextForm) -> Tensor:
        """Write text into a memory, which does not count it yet; its normalised states, (B, T, D)."""
        gates_NH = self._gates(READS_PICTURES) if any(memory.num_pictures) else None
        attend = MemoryAttention(memory.text, tokens_BT.shape[1], gates_NH=gates_NH)
        return form.tower.transform(tokens_BT, positions_BT, attend)

    def take_picture(self, memory: Memory, images_BCHW: Tensor, positions_B: Tensor) -> None:
        """Write a given picture into every row of a memory, which does not count it yet."""
        num_patches = self.config.image.num_patches
        gates_NH = self._gates(READS_TEXT)
        attend = MemoryAttention(memory.text, num_patches, of_picture=True, gates_NH=gates_NH)
        times_B = torch.full((memory.num_rows,), GIVEN_TIME, device=memory.device)
        PictureStream(self, images_BCHW, times_B, positions_B).run(attend)

    @torch.no_grad()
    def context(self, memory: Memory) -> Context:
        """What has been read, turned as if the picture to be drawn began at position 0."""
        track = memory.text
        cosine, sine = self.image.rotary(memory.next_positions(1), track.dtype)
        keys_NBLKE = rotate(track.held(KEYS), cosine, -sine)
        gates_NH = self._gates(READS_TEXT)
        biases = None
        if gates_NH is not None:
            of_text_BL = ~track.of_pictures()
            biases = [of_text_BL[:, None] * gate_H[:, None] for gate_H in gates_NH.to(track.dtype)]
        return Context(list(keys_NBLKE), list(track.held(VALUES)), track.filled(), None, biases)

    def painter(self) -> Denoiser:
        """A frozen form of the image tower."""
        return PackedImageModel(self.image)

    def flops(self, num_tokens: int, num_pictures: int) -> float:
        """Operations of one row's forward pass; attention is counted in full, as it is computed."""
        text, image = self.config.text, self.config.image
        num_slots = num_tokens + num_pictures * image.num_patches
        attention = text.depth * 4.0 * text.num_heads * text.head_width * num_slots**2
        of_token = 2.0 * (text.depth * layer_matrices(text) + text.vocab_size * text.width)
        return attention + num_tokens * of_token + num_pictures * image_flops(image)

    def _gates(self, direction: int) -> Tensor | None:
        gates_NH2 = self.log_gates()
        return None if gates_NH2 is None else gates_NH2[..., direction]
