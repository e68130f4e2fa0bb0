"""RMSNorm for training on CPUs, with a backward of its own.

PyTorch's is composed of small operations there: 7.0 ms forward and backward for 3,072 × 384 in
bfloat16 on one Zen 5 core, this one 2.7. Computed in float32 inside, as everywhere.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class TrainableRMSNorm(torch.autograd.Function):
    """x / sqrt(mean(x²) + epsilon) · weight over the last axis, in the dtype asked for."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float, dtype: torch.dtype) -> Tensor:
        x32 = _widened(x)
        mean_square = torch.linalg.vecdot(x32, x32).div_(x.shape[-1])
        inverse = mean_square.add_(epsilon).rsqrt_().unsqueeze_(-1)
        ctx.save_for_backward(x, weight, inverse)
        normalised: Tensor = (x32 * inverse).mul_(weight).to(dtype)
        return normalised

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight, inverse = ctx.saved_tensors
        normalised = _widened(x) * inverse
        by_weight = (gradient * normalised).flatten(0, -2).sum(0).to(weight.dtype)
        by_normalised = gradient * _widened(weight)
        shared = torch.linalg.vecdot(by_normalised, normalised).div_(-x.shape[-1]).unsqueeze_(-1)
        by_x = by_normalised.addcmul_(normalised, shared).mul_(inverse)
        return by_x.to(x.dtype), by_weight, None, None


def _widened(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
