"""Products with int8 matrices, in whole numbers where the processor has a quick way: the only place that
knows torch's operators for it.

On CPUs it is fbgemm's product, which rounds a whole batch with one scale; rows are brought to one size
before, so that each has a scale of its own. Its inputs have 7 bits: without VNNI sums of two products of
8 bits do not fit 16. Elsewhere, or where torch has no fbgemm, the matrix becomes floats for each product.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

LIMIT = 127
"""Largest whole number of a weight."""
_INPUT_LIMIT = 63
_LEAST = 1e-30
"""Below which a row of inputs is zero."""

Int8Product = Callable[[Tensor], Tensor]
"""x (N, I) → x · Wᵀ (N, O), in the dtype of x."""


def int8_product(weight_OI: Tensor, scale_O1: Tensor) -> Int8Product:
    """The quickest form for where the weight lives."""
    if weight_OI.device.type == "cpu" and _has_fbgemm():
        return _FbgemmProduct(weight_OI, scale_O1)
    return _FloatProduct(weight_OI, scale_O1)


class _FbgemmProduct:
    """A copy in fbgemm's layout."""

    def __init__(self, weight_OI: Tensor, scale_O1: Tensor) -> None:
        zeros_O = torch.zeros(len(weight_OI), dtype=torch.long)
        scale_O = scale_O1.flatten().double()
        with warnings.catch_warnings(action="ignore"):  # it is deprecated without a successor as quick
            quantized = torch._make_per_channel_quantized_tensor(weight_OI.contiguous(), scale_O, zeros_O, 0)
        self._packed = torch.ops.quantized.linear_prepack(quantized, None)
        self._linear = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32

    def __call__(self, x_NI: Tensor) -> Tensor:
        values_NI = x_NI.float()
        size_N1 = torch.linalg.vector_norm(values_NI, torch.inf, dim=1, keepdim=True).clamp_min_(_LEAST)
        out_NO: Tensor = self._linear(values_NI / size_N1, 1 / _INPUT_LIMIT, _INPUT_LIMIT + 1, self._packed)
        return out_NO.mul_(size_N1).to(x_NI.dtype)


class _FloatProduct:
    """The matrix as it is, made floats when it is used."""

    def __init__(self, weight_OI: Tensor, scale_O1: Tensor) -> None:
        self._weight_OI, self._scale_O1 = weight_OI, scale_O1

    def __call__(self, x_NI: Tensor) -> Tensor:
        weight_OI = self._weight_OI.to(x_NI.dtype) * self._scale_O1.to(x_NI.dtype)
        return functional.linear(x_NI, weight_OI)


def _has_fbgemm() -> bool:
    return (
        "fbgemm" in torch.backends.quantized.supported_engines
        and hasattr(torch, "_make_per_channel_quantized_tensor")
        and hasattr(torch.ops.quantized, "linear_with_input_q_dq_qweight_dq_output_fp32")
    )
