"""Frozen matrices in the layout their processor multiplies quickest, with the next operation fused in.

On CPUs oneDNN's packed weights are 1.3–2.5 × quicker than a plain product for up to 32 rows; elsewhere,
or where PyTorch was built without oneDNN, the plain product serves. Values are a snapshot: training on
does not reach a packed matrix. Unusual: these are the operators torch.compile emits, called directly.

Letters: N rows, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from vermeil_model.int8 import Int8Linear
from vermeil_model.int8_product import Int8Product, int8_product
from vermeil_model.layers import Linear

_PACKABLE = (torch.float32, torch.bfloat16)


class PackedMatrix(Protocol):
    """y = x · Wᵀ and what often follows; x is (N, I), the rest (N, O)."""

    def apply(self, x_NI: Tensor) -> Tensor:
        """x · Wᵀ."""

    def add(self, x_NI: Tensor, residual_NO: Tensor) -> Tensor:
        """residual + x · Wᵀ."""

    def gate(self, x_NI: Tensor) -> Tensor:
        """silu(x · Wᵀ)."""

    def multiply(self, x_NI: Tensor, factor_NO: Tensor) -> Tensor:
        """factor · (x · Wᵀ), element by element."""


class PlainMatrix:
    """The weight as it is, shared with the model it came from."""

    def __init__(self, weight_OI: Tensor) -> None:
        self._weight_OI = weight_OI

    def apply(self, x_NI: Tensor) -> Tensor:
        return functional.linear(x_NI, self._weight_OI)

    def add(self, x_NI: Tensor, residual_NO: Tensor) -> Tensor:
        return torch.addmm(residual_NO, x_NI, self._weight_OI.t())

    def gate(self, x_NI: Tensor) -> Tensor:
        return functional.silu(functional.linear(x_NI, self._weight_OI))

    def multiply(self, x_NI: Tensor, factor_NO: Tensor) -> Tensor:
        return factor_NO * functional.linear(x_NI, self._weight_OI)


class OneDnnMatrix:
    """A copy in oneDNN's blocked layout."""

    def __init__(self, weight_OI: Tensor) -> None:
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight_OI)
        self._linear = torch.ops.mkldnn._linear_pointwise.default
        self._binary = torch.ops.mkldnn._linear_pointwise.binary

    def apply(self, x_NI: Tensor) -> Tensor:
        out: Tensor = self._linear(x_NI, self._packed, None, "none", [], "")
        return out

    def add(self, x_NI: Tensor, residual_NO: Tensor) -> Tensor:
        out: Tensor = self._binary(x_NI, residual_NO, self._packed, None, "add")
        return out

    def gate(self, x_NI: Tensor) -> Tensor:
        out: Tensor = self._linear(x_NI, self._packed, None, "swish", [], "")
        return out

    def multiply(self, x_NI: Tensor, factor_NO: Tensor) -> Tensor:
        out: Tensor = self._binary(x_NI, factor_NO, self._packed, None, "mul")
        return out


class Int8Matrix:
    """Rows of an `Int8Linear`; what follows its product is done by itself."""

    def __init__(self, product: Int8Product) -> None:
        self._product = product

    def apply(self, x_NI: Tensor) -> Tensor:
        return self._product(x_NI)

    def add(self, x_NI: Tensor, residual_NO: Tensor) -> Tensor:
        return self.apply(x_NI).add_(residual_NO)

    def gate(self, x_NI: Tensor) -> Tensor:
        return functional.silu(self.apply(x_NI), inplace=True)

    def multiply(self, x_NI: Tensor, factor_NO: Tensor) -> Tensor:
        return self.apply(x_NI).mul_(factor_NO)


def pack_rows(linear: Linear | Int8Linear, num_parts: int = 1) -> list[PackedMatrix]:
    """A layer's matrix, its rows in so many equal parts."""
    weights = linear.weight.chunk(num_parts)
    if isinstance(linear, Int8Linear):
        scales = linear.weight_scale.chunk(num_parts)
        return [Int8Matrix(int8_product(*part)) for part in zip(weights, scales, strict=True)]
    return [pack(weight_OI) for weight_OI in weights]


def pack(weight_OI: Tensor) -> PackedMatrix:
    """The quickest form for where the weight lives."""
    weight_OI = weight_OI.detach()
    if weight_OI.device.type == "cpu" and weight_OI.dtype in _PACKABLE and _has_one_dnn(weight_OI.dtype):
        return OneDnnMatrix(weight_OI)
    return PlainMatrix(weight_OI)


def _has_one_dnn(dtype: torch.dtype) -> bool:
    is_available: Callable[[], bool] = torch.backends.mkldnn.is_available
    if not is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
