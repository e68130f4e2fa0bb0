"""Norm and rotation of query and key heads in one piece, for training on CPUs.

Composed of single operations, autograd copies each intermediate and norms queries and keys apart; here
both go through at once and the backward is written down. The inverse size of a head is computed in
float32, what it multiplies stays in the dtype of the heads.

Letters: B batch, T tokens, C query and key heads, E head width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class TrainableTurn(torch.autograd.Function):
    """rotate(x / sqrt(mean(x²) + epsilon) · weight) of heads (B, T, C, E) with weights (C, E).

    The tables of rotation are (T, E) or (B, T, E), as `rotate` takes them.
    """

    @staticmethod
    def forward(
        ctx: Any, heads: Tensor, weight_CE: Tensor, cosine: Tensor, sine: Tensor, epsilon: float
    ) -> Tensor:
        cosine, sine = cosine.unsqueeze(-2), sine.unsqueeze(-2)
        norms = torch.linalg.vector_norm(heads, dim=-1, keepdim=True)
        mean_square = norms.float().square_().div_(heads.shape[-1])
        inverse = mean_square.add_(epsilon).rsqrt_().to(heads.dtype)
        normalised = heads * inverse
        weight = weight_CE.to(heads.dtype)
        ctx.save_for_backward(normalised, inverse, weight, cosine, sine)
        swapped = _swap(normalised)
        return torch.addcmul(normalised * (weight * cosine), swapped, _swap(weight) * sine)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        normalised, inverse, weight, cosine, sine = ctx.saved_tensors
        by_weighted = torch.addcmul(gradient * cosine, _swap(gradient), _swap(sine))
        by_weight = (by_weighted * normalised).flatten(0, -3).sum(0, dtype=torch.float32)
        by_normalised = by_weighted.mul_(weight)
        shared = torch.linalg.vecdot(by_normalised, normalised).div_(-normalised.shape[-1]).unsqueeze_(-1)
        by_heads = by_normalised.addcmul_(normalised, shared).mul_(inverse)
        return by_heads, by_weight, None, None, None


def _swap(x: Tensor) -> Tensor:
    return x.roll(x.shape[-1] // 2, dims=-1)
