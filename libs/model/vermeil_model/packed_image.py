"""A frozen image tower in as few operations as PyTorch allows: what sampling runs on.

The same mathematics as ImageModel (tests hold them equal): packed matrices with SwiGLU and residuals in
their products, norms of heads, their weights and rotation in one table. A batch goes through in pieces
that stay in a core's cache. A snapshot: it does not follow later training of the model.

Letters: B batch, T patches, N rows of all patches, D width, H query heads, K key/value heads, E head width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vermeil_model.conditions import Conditions
from vermeil_model.context import Context, PatchAttention
from vermeil_model.image_model import NUM_MODULATIONS, ImageModel
from vermeil_model.layers import Block, Modulation
from vermeil_model.packed_matrix import PackedMatrix, pack
from vermeil_model.packed_model import PackedBlock
from vermeil_model.patches import from_patches, to_patches
from vermeil_model.text_model import Before

MOST_ROWS = 1024
"""Patches that go through a CPU at once: beyond, what lies between two products leaves the cache."""


class _Turn(NamedTuple):
    """Rotation of one layer's query and key heads, the weights of their norms included, (T, H + K, E)."""

    straight: Tensor
    swapped: Tensor


Across = Callable[[Context], Before | None]
"""Makes of a context what the residual stream goes through before each layer."""


class PackedImageModel:
    """Noisy pictures in, predicted clean pictures out, without gradients.

    Patches see a context as they see one another or, where `across` is given, in its way alone.
    """

    def __init__(self, model: ImageModel, across: Across | None = None) -> None:
        config = model.config
        self._across = across
        self.config = config
        self.dtype = model.position.dtype
        self.device = model.position.device
        self._model = model
        self._patch_embedding = pack(model.patch_embedding.weight)
        blocks = [layer for layer in model.layers if isinstance(layer, Block)]
        self._layers = [
            PackedBlock.of(block, config.num_heads, config.num_key_value_heads) for block in blocks
        ]
        self._turns = [self._turn(layer.head_norm) for layer in self._layers]
        self._norm = model.norm.weight.detach()
        self._head = pack(model.head.weight)
        self._modulation = None if model.modulation is None else self._packed_modulation(model.modulation)

    def read(self, conditions: Conditions) -> Context:
        """Keys and values of conditions in every layer."""
        return self._model.read(conditions)

    def __call__(self, noisy_BCHW: Tensor, times_B: Tensor, *, context: Context | None = None) -> Tensor:
        """The clean pictures expected behind noisy ones at times of 0 … 1."""
        size = len(noisy_BCHW)
        if self.device.type == "cpu":
            size = max(1, MOST_ROWS // self.config.num_patches)
        pieces = []
        for start in range(0, len(noisy_BCHW), size):
            rows = slice(start, start + size)
            part = None if context is None else self._part(context, rows)
            pieces.append(self._predict(noisy_BCHW[rows], times_B[rows], part))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _part(self, context: Context, rows: slice) -> Context | None:
        """Some rows of a context; without a mask that hides nothing, and none where it hides all."""
        part = context.rows(rows)
        if part.visible_BL is None or self.device.type != "cpu":
            return part
        if bool(part.visible_BL.all()):
            return part._replace(visible_BL=None)
        return part if bool(part.visible_BL.any()) else None

    def _predict(self, noisy_BCHW: Tensor, times_B: Tensor, context: Context | None) -> Tensor:
        config, model = self.config, self._model
        embedded_BD = model.embed_time(times_B, context)
        modulations_BND = self._modulations(embedded_BD)
        patches_BTP = to_patches(noisy_BCHW, config.patch_size).to(self.dtype)
        x_ND = self._patch_embedding.apply(patches_BTP.flatten(0, 1))
        x_ND = x_ND + (model.position + embedded_BD[:, None]).flatten(0, 1)
        look = None if self._across is None or context is None else self._across(context)
        within = context if self._across is None else None
        attend = PatchAttention(within, config.num_patches, self.dtype)
        for index in range(config.depth):
            if look is not None:
                x_ND = look(index, x_ND.view(-1, config.num_patches, config.width)).flatten(0, 1)
            modulation = None if modulations_BND is None else _of_layer(modulations_BND, index)
            x_ND = self._layer(x_ND, index, attend, modulation)
        shift_B1D = scale_B1D = None
        if modulations_BND is not None:
            shift_B1D, scale_B1D = modulations_BND[:, -2:, None].unbind(1)
        x_ND = self._normalise(x_ND, self._norm, shift_B1D, scale_B1D)
        out_BTP = self._head.apply(x_ND).view(len(noisy_BCHW), config.num_patches, -1)
        return from_patches(out_BTP, config.patch_size, config.num_rows)

    def _layer(self, x_ND: Tensor, index: int, attend: PatchAttention, by: Modulation | None) -> Tensor:
        layer, config = self._layers[index], self.config
        shift, scale = (None, None) if by is None else (by.attention_shift, by.attention_scale)
        normalised_ND = self._normalise(x_ND, layer.attention_norm, shift, scale)
        shape = (-1, config.num_patches, self._num_heads, config.head_width)
        heads = layer.qkv.apply(normalised_ND).view(shape)
        turned = self._turned(heads[..., : self._num_turning, :], self._turns[index])
        queries, keys = turned[..., : config.num_heads, :], turned[..., config.num_heads :, :]
        mixed = attend(queries, keys, heads[..., self._num_turning :, :], index).reshape(len(x_ND), -1)
        if by is None:
            x_ND = layer.output.add(mixed, x_ND)
        else:
            x_ND = _gated(x_ND, by.attention_gate, layer.output.apply(mixed))
        shift, scale = (None, None) if by is None else (by.feed_forward_shift, by.feed_forward_scale)
        normalised_ND = self._normalise(x_ND, layer.feed_forward_norm, shift, scale)
        inner_NF = layer.up.multiply(normalised_ND, layer.gate.gate(normalised_ND))
        if by is None:
            return layer.down.add(inner_NF, x_ND)
        return _gated(x_ND, by.feed_forward_gate, layer.down.apply(inner_NF))

    def _turned(self, heads: Tensor, turn: _Turn) -> Tensor:
        """Query and key heads, normalised if the model does, and rotated."""
        if self.config.qk_norm:
            heads = heads * self._inverse_size(heads)
        swapped = heads.roll(self.config.head_width // 2, dims=-1)
        return torch.addcmul(heads * turn.straight, swapped, turn.swapped)

    def _turn(self, head_norm: Tensor | None) -> _Turn:
        tables = self._model.rotary(self._model.patch_positions(), torch.float32)
        cosine, sine = (table.squeeze(0)[:, None] for table in tables)
        weight = torch.ones(1, device=self.device) if head_norm is None else head_norm
        swapped_weight = weight if head_norm is None else head_norm.roll(self.config.head_width // 2, dims=-1)
        return _Turn((cosine * weight).to(self.dtype), (sine * swapped_weight).to(self.dtype))

    @property
    def _num_turning(self) -> int:
        return self.config.num_heads + self.config.num_key_value_heads

    @property
    def _num_heads(self) -> int:
        return self._num_turning + self.config.num_key_value_heads

    def _normalise(
        self, x_ND: Tensor, weight: Tensor, shift_B1D: Tensor | None, scale_B1D: Tensor | None
    ) -> Tensor:
        """RMSNorm and what modulates it; scales have the weights of the norm in them."""
        normalised_ND = x_ND * self._inverse_size(x_ND)
        if shift_B1D is None or scale_B1D is None:
            return normalised_ND.mul_(weight)
        x_BTD = normalised_ND.view(len(shift_B1D), -1, x_ND.shape[-1])
        return torch.addcmul(shift_B1D, scale_B1D, x_BTD).view_as(x_ND)

    def _inverse_size(self, x: Tensor) -> Tensor:
        """1 / sqrt(mean(x²) + epsilon) over the last axis: one pass where rms_norm makes several."""
        norms: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        mean_square = norms.float().square_().div_(x.shape[-1])
        return mean_square.add_(self.config.norm_epsilon).rsqrt_().to(x.dtype)

    def _modulations(self, embedded_BD: Tensor) -> Tensor | None:
        """What `ImageModel.modulations` gives, with 1 and the norms' weights already in the scales."""
        if self._modulation is None:
            return None
        matrix, bias = self._modulation
        flat = matrix.apply(functional.silu(embedded_BD)) + bias
        return flat.view(len(flat), -1, self.config.width)

    def _packed_modulation(self, modulation: nn.Linear) -> tuple[PackedMatrix, Tensor]:
        """Rows of scales and gates with their 1 added, those of scales times the weights of the norm."""
        depth, width = self.config.depth, self.config.width
        weight = modulation.weight.detach().float().view(-1, width, width).clone()
        bias = modulation.bias.detach().float().view(-1, width).clone()
        for index, layer in enumerate(self._layers):
            start = index * NUM_MODULATIONS
            for name, norm in (
                ("attention", layer.attention_norm),
                ("feed_forward", layer.feed_forward_norm),
            ):
                bias[start + Modulation._fields.index(f"{name}_gate")] += 1
                _scale_row(weight, bias, start + Modulation._fields.index(f"{name}_scale"), norm)
        _scale_row(weight, bias, depth * NUM_MODULATIONS + 1, self._norm)
        return pack(weight.view(-1, width).to(self.dtype)), bias.flatten().to(self.dtype)


def _scale_row(weight: Tensor, bias: Tensor, row: int, norm: Tensor) -> None:
    bias[row] = (bias[row] + 1) * norm.float()
    weight[row] *= norm.float()[:, None]


def _of_layer(modulations_BND: Tensor, layer: int) -> Modulation:
    start = layer * NUM_MODULATIONS
    return Modulation(*modulations_BND[:, start : start + NUM_MODULATIONS, None].unbind(1))


def _gated(x_ND: Tensor, gate_B1D: Tensor, added_ND: Tensor) -> Tensor:
    x_BTD = x_ND.view(len(gate_B1D), -1, x_ND.shape[-1])
    return torch.addcmul(x_BTD, gate_B1D, added_ND.view_as(x_BTD)).view_as(x_ND)
