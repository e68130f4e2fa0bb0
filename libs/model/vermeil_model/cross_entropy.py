"""Mean cross entropy of a readout, without ever holding all logits.

Rows are read out in chunks, and each chunk's gradient is taken at once, while its logits are at hand:
memory stays at one chunk, and nothing is computed twice. Not differentiable twice.

Letters: N rows, M rows of a chunk, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

IGNORED_TARGET = -100
"""A target with this value does not count in the loss."""
MOST_LOGITS = 2**22
"""Logits of one chunk on a CPU: 16 MiB in float32, about a cache."""
MOST_LOGITS_ON_ACCELERATOR = 2**28
"""1 GiB in float32: few, large products."""


def readout_cross_entropy(hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Mean over counted targets, in nats, float32; 0 where none counts."""
    if hidden_ND.shape[0] * weight_VD.shape[0] <= _most_logits(hidden_ND):
        logits_NV = functional.linear(hidden_ND, weight_VD).float()
        total = functional.cross_entropy(logits_NV, targets_N, ignore_index=IGNORED_TARGET, reduction="sum")
        return total / _num_counted(targets_N)
    loss: Tensor = _ChunkedCrossEntropy.apply(hidden_ND, weight_VD, targets_N)
    return loss


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        by_hidden_ND = torch.empty_like(hidden_ND) if wanted else None
        by_weight_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if wanted else None
        num_counted = _num_counted(targets_N)
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        size = max(1, _most_logits(hidden_ND) // weight_VD.shape[0])
        for start in range(0, len(hidden_ND), size):
            hidden_MD, targets_M = hidden_ND[start : start + size], targets_N[start : start + size]
            logits_MV = functional.linear(hidden_MD, weight_VD).float()
            total += _summed_loss(logits_MV, targets_M)
            if by_hidden_ND is not None and by_weight_VD is not None:
                by_logits_MV = _gradient(logits_MV, targets_M).div_(num_counted).to(hidden_MD.dtype)
                by_hidden_ND[start : start + size] = by_logits_MV @ weight_VD
                by_weight_VD += by_logits_MV.t() @ hidden_MD
        ctx.save_for_backward(by_hidden_ND, by_weight_VD)
        ctx.weight_dtype = weight_VD.dtype
        return total / num_counted

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        by_hidden_ND, by_weight_VD = ctx.saved_tensors
        by_hidden = (by_hidden_ND * gradient).to(by_hidden_ND.dtype)
        return by_hidden, (by_weight_VD * gradient).to(ctx.weight_dtype), None


def _most_logits(hidden_ND: Tensor) -> int:
    return MOST_LOGITS if hidden_ND.device.type == "cpu" else MOST_LOGITS_ON_ACCELERATOR


def _num_counted(targets_N: Tensor) -> Tensor:
    return (targets_N != IGNORED_TARGET).sum().clamp_min(1)


def _summed_loss(logits_MV: Tensor, targets_M: Tensor) -> Tensor:
    return functional.cross_entropy(logits_MV, targets_M, ignore_index=IGNORED_TARGET, reduction="sum")


def _gradient(logits_MV: Tensor, targets_M: Tensor) -> Tensor:
    """Of the summed loss by the logits: softmax − one-hot, 0 where ignored."""
    counted_M1 = (targets_M != IGNORED_TARGET)[:, None]
    shares_MV = torch.softmax(logits_MV, -1)
    shares_MV.scatter_add_(1, targets_M.clamp_min(0)[:, None], -counted_M1.float())
    return shares_MV.mul_(counted_M1)
