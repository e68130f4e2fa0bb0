"""How weights begin: drawn on the CPU in float32, equal on every device and in every dtype."""

from __future__ import annotations

import math

import torch
from torch import Tensor

RESIDUAL = ("output", "down")
"""Matrices that end a branch beside the residual stream."""


def draw_weight(
    name: str, weight: Tensor, generator: torch.Generator, num_layers: int, deviation: float | None = None
) -> None:
    """Fill a vector with 1, and a matrix with normal numbers.

    Their deviation is 1 / sqrt(inputs) unless given, and smaller by sqrt(2 · layers) where the matrix, by
    its name, ends a residual branch (GPT-2).
    """
    if weight.ndim == 1:
        weight.fill_(1.0)
        return
    deviation = weight.shape[1] ** -0.5 if deviation is None else deviation
    if name.removesuffix(".weight").endswith(RESIDUAL):
        deviation /= math.sqrt(2 * num_layers)
    weight.copy_(torch.empty(weight.shape).normal_(0.0, deviation, generator=generator))
