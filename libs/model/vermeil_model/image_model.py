"""The image tower: noisy pictures in, predicted clean pictures out.

Patches and condition tokens run through the same layers; patches see everything, condition tokens only
themselves (context.py). Time enters as an embedding added to the patches and, with `adaln`, into every
layer. It knows nothing of losses or of sampling. Unusual: it predicts the picture itself, not noise or
velocity, because large patches of raw pixels can be learned only so (arXiv 2511.13720).

Letters: B batch, C channels, H height, W width, T patches, P values of a patch, L condition tokens,
D width, N layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from vermeil_errors import InvalidInput

from vermeil_model.conditions import Conditions, check_kind
from vermeil_model.context import Context, Everyone, PatchAttention, Reading
from vermeil_model.image_config import ImageConfig
from vermeil_model.initial import draw_weight
from vermeil_model.layers import Block, Linear, Modulation, RMSNorm, modulate
from vermeil_model.linear import compute_dtype
from vermeil_model.patches import check_pictures, from_patches, to_patches
from vermeil_model.rotary import Rotary

TIME_FEATURES = 128
"""Sines and cosines a time is told by."""
NUM_MODULATIONS = len(Modulation._fields)


class TimeEmbedding(nn.Module):
    """A time of 0 … 1 as a vector: waves of it through two matrices."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rise = Linear(TIME_FEATURES, width)
        self.mix = Linear(width, width)

    def forward(self, times_B: Tensor) -> Tensor:
        """(B) → (B, D)."""
        features_BF = time_features(times_B).to(self.rise.weight.dtype)
        embedded_BD: Tensor = self.mix(functional.silu(self.rise(features_BF)))
        return embedded_BD


class ImageModel(nn.Module):
    """A transformer over patches; fresh ones carry the weights of seed 0 until told otherwise."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.config = config
        tower, width = config.tower, config.width
        self.patch_embedding = Linear(config.patch_width, width)
        self.position = nn.Parameter(torch.empty(config.num_patches, width))
        self.time = TimeEmbedding(width)
        self.condition = None
        self.pool = None
        if config.condition != "none":
            rows = config.num_condition_rows
            self.condition = nn.Embedding(rows, width, _weight=torch.empty(rows, width))
            self.pool = Linear(width, width) if config.pool_condition else None
        self.rotary = Rotary(tower)
        self.layers = nn.ModuleList(Block(tower) for _ in range(config.depth))
        self.norm = RMSNorm(width, config.norm_epsilon)
        num_modulations = config.depth * NUM_MODULATIONS + 2
        self.modulation = nn.Linear(width, num_modulations * width) if config.adaln else None
        self.head = Linear(width, config.patch_width)
        if not self.position.is_meta:
            self.init_weights(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator` (on the CPU, float32); the first prediction is 0 everywhere."""
        for name, parameter in self.named_parameters():
            if name == "position":
                parameter.copy_(grid_waves(self.config.num_rows, self.config.num_columns, self.config.width))
            elif name.startswith(("head.", "modulation.")):
                parameter.zero_()
            else:
                deviation = 1.0 if name.startswith("condition.") else None
                draw_weight(name, parameter, generator, self.config.depth, deviation)

    def forward(
        self,
        noisy_BCHW: Tensor,
        times_B: Tensor,
        conditions: Conditions | None = None,
        *,
        context: Context | None = None,
    ) -> Tensor:
        """The clean pictures expected behind noisy ones, (B, C, H, W), −1 … 1.

        times_B are 0 (noise) … 1 (clean). What is asked for comes as `conditions`, or as the `context`
        that `read` made of them.
        """
        check_pictures(noisy_BCHW, self.config, "a model")
        if conditions is not None:
            context = self.read(conditions)
        embedded_BD = self.embed_time(times_B, context)
        x_BTD = self.embed_patches(noisy_BCHW, embedded_BD)
        attend = PatchAttention(context, self.config.num_patches, self._compute_dtype())
        modulations_BND = self.modulations(embedded_BD)
        rotation = self.rotary(self.patch_positions(), self._compute_dtype())
        for index, layer in enumerate(self.layers):
            modulation = None if modulations_BND is None else layer_modulation(modulations_BND, index)
            x_BTD = layer(x_BTD, rotation, attend, index, modulation)
        return self.readout(x_BTD, modulations_BND)

    def read(self, conditions: Conditions) -> Context:
        """Keys and values of conditions in every layer; they serve for all times."""
        check_kind(conditions, self.config)
        if conditions.classes_B is not None:
            return self._read_classes(conditions.classes_B)
        tokens_BL, lengths_B = conditions.tokens_BL, conditions.lengths_B
        if tokens_BL is None or lengths_B is None:
            raise InvalidInput.for_field("conditions", None, "lack tokens or lengths", "Give both.")
        places_L = torch.arange(tokens_BL.shape[1], device=tokens_BL.device)
        visible_BL = places_L < lengths_B.clamp_min(1)[:, None]
        return self._read_tokens(tokens_BL, visible_BL).hidden_where(lengths_B <= 0)

    def embed_time(self, times_B: Tensor, context: Context | None) -> Tensor:
        """Time and pooled condition in one vector, (B, D)."""
        embedded_BD: Tensor = self.time(times_B)
        if context is not None and context.pooled_BD is not None:
            embedded_BD = embedded_BD + context.pooled_BD
        return embedded_BD

    def embed_patches(self, noisy_BCHW: Tensor, embedded_BD: Tensor) -> Tensor:
        """The residual stream that the first layer sees, (B, T, D)."""
        patches_BTP = to_patches(noisy_BCHW, self.config.patch_size).to(self.patch_embedding.weight.dtype)
        x_BTD: Tensor = self.patch_embedding(patches_BTP) + self.position + embedded_BD[:, None]
        return x_BTD.to(self._compute_dtype())

    def modulations(self, embedded_BD: Tensor) -> Tensor | None:
        """Shifts, scales and gates of all layers and of the readout, (B, 6 · N + 2, D), if there are any."""
        if self.modulation is None:
            return None
        flat: Tensor = self.modulation(functional.silu(embedded_BD))
        return flat.view(len(flat), -1, self.config.width)

    def readout(self, x_BTD: Tensor, modulations_BND: Tensor | None) -> Tensor:
        """Pictures of the last residual stream."""
        x_BTD = self.norm(x_BTD)
        if modulations_BND is not None:
            shift_B1D, scale_B1D = modulations_BND[:, -2:, None].unbind(1)
            x_BTD = modulate(x_BTD, shift_B1D, 1 + scale_B1D)
        return from_patches(self.head(x_BTD), self.config.patch_size, self.config.num_rows)

    def patch_positions(self) -> Tensor:
        """Of the patches on the three rotary axes, (3, 1, T); they lie beyond the longest condition."""
        config, device = self.config, self.position.device
        rows = torch.arange(config.num_rows, device=device).repeat_interleave(config.num_columns)
        columns = torch.arange(config.num_columns, device=device).repeat(config.num_rows)
        return torch.stack((torch.zeros_like(rows), rows, columns))[:, None] + config.context_length

    def _read_classes(self, classes_B: Tensor) -> Context:
        """Every class is read once where the batch has more pictures than there are classes."""
        config = self.config
        known_B = classes_B.clamp_min(0)
        shared = config.num_classes <= len(classes_B)
        read_N = torch.arange(config.num_classes, device=classes_B.device) if shared else known_B
        places_L = torch.arange(config.context_length, device=classes_B.device)
        context = self._read_tokens(read_N[:, None] * config.context_length + places_L, None)
        return (context.rows(known_B) if shared else context).hidden_where(classes_B < 0)

    def _read_tokens(self, tokens_BL: Tensor, visible_BL: Tensor | None) -> Context:
        assert self.condition is not None
        reading = Reading(Everyone(visible_BL, self._compute_dtype()))
        positions_L = torch.arange(tokens_BL.shape[1], device=tokens_BL.device)
        rotation = self.rotary(positions_L, self._compute_dtype())
        x_BLD = self.condition(tokens_BL).to(self._compute_dtype())
        for index, layer in enumerate(self.layers):
            x_BLD = layer(x_BLD, rotation, reading, index)
        pooled_BD = None if self.pool is None else self.pool(_mean(self.norm(x_BLD), visible_BL))
        return Context(reading.keys, reading.values, visible_BL, pooled_BD)

    def _compute_dtype(self) -> torch.dtype:
        return compute_dtype(self.position)


def layer_modulation(modulations_BND: Tensor, layer: int) -> Modulation:
    """What one layer is given; scales and gates are learned as differences from 1."""
    start = layer * NUM_MODULATIONS
    parts = modulations_BND[:, start : start + NUM_MODULATIONS, None].unbind(1)
    shift, scale, gate, second_shift, second_scale, second_gate = parts
    return Modulation(shift, 1 + scale, 1 + gate, second_shift, 1 + second_scale, 1 + second_gate)


def time_features(times_B: Tensor) -> Tensor:
    """Cosines and sines of a time at wavelengths from 2π / 1000 up, float32 (B, F)."""
    half = TIME_FEATURES // 2
    octaves_F = torch.arange(half, device=times_B.device, dtype=torch.float32) / half
    angles_BF = 1000.0 * times_B.float()[:, None] * torch.exp(-math.log(10_000.0) * octaves_F)
    return torch.cat((angles_BF.cos(), angles_BF.sin()), -1)


def grid_waves(num_rows: int, num_columns: int, width: int) -> Tensor:
    """Where each patch starts from: sines and cosines of its row and its column, (T, D)."""
    quarter = -(-width // 4)
    octaves_F = torch.arange(quarter) / quarter
    frequencies_F = torch.exp(-math.log(100.0) * octaves_F)
    rows_TF = torch.arange(num_rows).repeat_interleave(num_columns)[:, None] * frequencies_F
    columns_TF = torch.arange(num_columns).repeat(num_rows)[:, None] * frequencies_F
    waves = (rows_TF.sin(), rows_TF.cos(), columns_TF.sin(), columns_TF.cos())
    return torch.cat(waves, -1)[:, :width]


def _mean(x_BLD: Tensor, visible_BL: Tensor | None) -> Tensor:
    if visible_BL is None:
        return x_BLD.mean(1)
    weights_BL1 = visible_BL[:, :, None].to(x_BLD.dtype)
    return (x_BLD * weights_BL1).sum(1) / weights_BL1.sum(1)
