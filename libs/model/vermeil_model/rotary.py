"""Rotary position embedding on three axes: time, height, width.

Frequency f turns with axis f mod 3, so every axis has quick and slow ones. Text has the same position
on all three axes, and then this is plain RoPE, angle for angle as Llama computes it (float32, halves
paired). Unusual: the sign of the sine is folded into the table, so a turn is one multiply, one roll
and one fused multiply-add.

Letters: B batch, T tokens, P positions in the table, H heads, E head width, A axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vermeil_model.config import ModelConfig, RopeScaling

NUM_AXES = 3


class Rotary(nn.Module):
    """The table of cosines and signed sines up to the context length, always in float32."""

    table: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self._config = config
        self.register_buffer("table", _table(config, device=None), persistent=False)

    def forward(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine at positions of shape (T), (B, T) or (3, B, T), each (…, T, E)."""
        table_2PE = self.table
        if positions.ndim < NUM_AXES:
            rows = table_2PE[:, positions]
        else:
            axis_E = torch.arange(self._config.head_width // 2, device=positions.device).repeat(2) % NUM_AXES
            rows_2ABTE = table_2PE[:, positions]
            rows = torch.where(axis_E == 0, rows_2ABTE[:, 0], rows_2ABTE[:, 1])
            rows = torch.where(axis_E == 2, rows_2ABTE[:, 2], rows)
        cosine, sine = rows.to(dtype).unbind(0)
        return cosine, sine

    def reset(self, device: torch.device | None = None) -> None:
        """Compute the table anew, on `device` or where it is."""
        self.table = _table(self._config, device=device or self.table.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Rotary:  # noqa: ARG002
        """Follow the model to another device, but never to another dtype."""
        moved = fn(self.table)
        self.reset(moved.device)
        return self


def rotate(heads_BTHE: Tensor, cosine_TE: Tensor, sine_TE: Tensor) -> Tensor:
    """Turn every head by its token's angle; the tables are (T, E) or (B, T, E)."""
    cosine, sine = cosine_TE.unsqueeze(-2), sine_TE.unsqueeze(-2)
    swapped = heads_BTHE.roll(heads_BTHE.shape[-1] // 2, dims=-1)
    return torch.addcmul(heads_BTHE * cosine, swapped, sine)


def inverse_frequencies(config: ModelConfig, device: torch.device | None = None) -> Tensor:
    """Radians per position of each pair, shape (E/2), float32."""
    exponents = torch.arange(0, config.head_width, 2, device=device).float() / config.head_width
    frequencies = 1.0 / (config.rope_theta**exponents)
    return frequencies if config.rope_scaling is None else _stretch(frequencies, config.rope_scaling)


def _stretch(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    wavelengths = 2 * math.pi / frequencies
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    smooth = (scaling.original_context_length / wavelengths - low) / (high - low)
    blended = (1 - smooth) * frequencies / scaling.factor + smooth * frequencies
    long = wavelengths > scaling.original_context_length / low
    short = wavelengths < scaling.original_context_length / high
    return torch.where(long, frequencies / scaling.factor, torch.where(short, frequencies, blended))


def _table(config: ModelConfig, device: torch.device | None) -> Tensor:
    positions = torch.arange(config.context_length, device=device).float()
    angles_PF = positions[:, None] * inverse_frequencies(config, device)
    cosine, sine = angles_PF.cos(), angles_PF.sin()
    return torch.stack((torch.cat((cosine, cosine), -1), torch.cat((-sine, sine), -1)))
