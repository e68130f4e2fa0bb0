"""Cross entropy of a readout, without ever holding all logits.

Rows are read out in chunks, and each chunk's gradient is taken at once, while its logits are at hand:
memory stays at one chunk, and nothing is computed twice. Not differentiable twice.

Letters: N rows, M rows of a chunk, D width, V vocabulary.
"""

# ruff: noqa: N815

from __future__ import annotations

from typing import Any, NamedTuple

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


class ReadoutLosses(NamedTuple):
    """What a readout costs."""

    mean: Tensor
    """Over counted targets by their weights, in nats, float32, with a gradient; 0 where none counts."""
    each_N: Tensor
    """Of every row, float32, without a gradient; 0 where the target does not count."""


def readout_cross_entropy(hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Mean over counted targets, in nats, float32; 0 where none counts."""
    return readout_losses(hidden_ND, weight_VD, targets_N).mean


def readout_losses(
    hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, importance_N: Tensor | None = None
) -> ReadoutLosses:
    """The same, and what each row contributes; `importance_N`, above 0, weighs rows in the mean."""
    counted_N = targets_N != IGNORED_TARGET
    if _may_count(hidden_ND.device) and not bool(counted_N.all()):
        return _of_counted(hidden_ND, weight_VD, targets_N, importance_N, counted_N.nonzero()[:, 0])
    importance_N = counted_N.float() if importance_N is None else importance_N * counted_N
    shares_N = importance_N / importance_N.sum().clamp_min(torch.finfo(torch.float32).tiny)
    if hidden_ND.shape[0] * weight_VD.shape[0] <= _most_logits(hidden_ND):
        each_N = _losses(functional.linear(hidden_ND, weight_VD).float(), targets_N)
        return ReadoutLosses((each_N * shares_N).sum(), each_N.detach())
    mean, each_N = _ChunkedCrossEntropy.apply(hidden_ND, weight_VD, targets_N, shares_N)
    return ReadoutLosses(mean, each_N)


def _of_counted(
    hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, importance_N: Tensor | None, rows_M: Tensor
) -> ReadoutLosses:
    """Where nothing is learned nothing is read out."""
    importance_M = None if importance_N is None else importance_N[rows_M]
    found = readout_losses(hidden_ND[rows_M], weight_VD, targets_N[rows_M], importance_M)
    each_N = found.each_N.new_zeros(len(targets_N)).index_copy_(0, rows_M, found.each_N)
    return ReadoutLosses(found.mean, each_N)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, shares_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        wanted = any(ctx.needs_input_grad)
        by_hidden_ND = torch.empty_like(hidden_ND) if wanted else None
        by_weight_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if wanted else None
        each_N = torch.empty(len(hidden_ND), dtype=torch.float32, device=hidden_ND.device)
        size = max(1, _most_logits(hidden_ND) // weight_VD.shape[0])
        for start in range(0, len(hidden_ND), size):
            part = slice(start, start + size)
            logits_MV = functional.linear(hidden_ND[part], weight_VD).float()
            each_N[part] = _losses(logits_MV, targets_N[part])
            if by_hidden_ND is not None and by_weight_VD is not None:
                by_logits_MV = _gradient(logits_MV, targets_N[part], shares_N[part]).to(hidden_ND.dtype)
                by_hidden_ND[part] = by_logits_MV @ weight_VD
                by_weight_VD += by_logits_MV.t() @ hidden_ND[part]
        ctx.save_for_backward(by_hidden_ND, by_weight_VD)
        ctx.weight_dtype = weight_VD.dtype
        ctx.mark_non_differentiable(each_N)
        return (each_N * shares_N).sum(), each_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None, None]:
        by_hidden_ND, by_weight_VD = ctx.saved_tensors
        by_hidden = (by_hidden_ND * gradient).to(by_hidden_ND.dtype)
        return by_hidden, (by_weight_VD * gradient).to(ctx.weight_dtype), None, None


def _may_count(device: torch.device) -> bool:
    """Whether rows may be counted: an accelerator would be waited for, and a compiler cannot trace it."""
    return device.type == "cpu" and not torch.compiler.is_compiling()


def _most_logits(hidden_ND: Tensor) -> int:
    return MOST_LOGITS if hidden_ND.device.type == "cpu" else MOST_LOGITS_ON_ACCELERATOR


def _losses(logits_MV: Tensor, targets_M: Tensor) -> Tensor:
    return functional.cross_entropy(logits_MV, targets_M, ignore_index=IGNORED_TARGET, reduction="none")


def _gradient(logits_MV: Tensor, targets_M: Tensor, shares_M: Tensor) -> Tensor:
    """Of the losses, weighed by shares, by the logits: (softmax − one-hot) · share, 0 where ignored."""
    by_logits_MV = torch.softmax(logits_MV, -1)
    ones_M1 = torch.ones_like(shares_M)[:, None]
    by_logits_MV.scatter_add_(1, targets_M.clamp_min(0)[:, None], -ones_M1)
    return by_logits_MV.mul_(shares_M[:, None])
