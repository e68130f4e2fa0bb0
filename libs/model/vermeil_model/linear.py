"""Products with a weight, in float32 on a CPU by oneDNN: forward, backward and weight gradient.

PyTorch takes MKL for float32, which knows no AVX-512 on AMD processors: 97 GFLOP/s on a Zen 5 core where
oneDNN does 220 (2,048 rows of 256 by 768). Everything else goes PyTorch's own way, which for bfloat16 is
oneDNN already.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

LEAST_WORK = 2**20
"""Multiplications below which the choice does not matter."""


def linear(x: Tensor, weight_OI: Tensor) -> Tensor:
    """x · Wᵀ for x of shape (…, I)."""
    if _one_dnn_is_quicker(x, weight_OI):
        product: Tensor = _OneDnnLinear.apply(x, weight_OI)
        return product
    return functional.linear(x, weight_OI)


def compute_dtype(weight: Tensor) -> torch.dtype:
    """What products with this weight are computed in: autocast's dtype, where it is on, or its own."""
    if torch.is_autocast_enabled(weight.device.type):
        return torch.get_autocast_dtype(weight.device.type)
    return weight.dtype


class _OneDnnLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OI: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight_OI)
        return _product(x.flatten(0, -2), weight_OI).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight_OI = ctx.saved_tensors
        gradient_NO = gradient.flatten(0, -2)
        by_x = by_weight = None
        if ctx.needs_input_grad[0]:
            by_x = _product(gradient_NO, weight_OI.t()).view_as(x)
        if ctx.needs_input_grad[1]:
            by_weight = _product(gradient_NO.t(), x.flatten(0, -2).t())
        return by_x, by_weight


def _product(x_NI: Tensor, weight_OI: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x_NI, weight_OI, None, "none", [], "")
    return product


def _one_dnn_is_quicker(x: Tensor, weight_OI: Tensor) -> bool:
    return (
        x.dtype == weight_OI.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and x.numel() * weight_OI.shape[0] >= LEAST_WORK
        and _one_dnn_is_there()
    )


@cache
def _one_dnn_is_there() -> bool:
    is_available: Callable[[], bool] = torch.backends.mkldnn.is_available
    return is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
