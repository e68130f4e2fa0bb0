"""SwiGLU for training on CPUs: the gradient of gate and up is written into one tensor, not put together.

Shazeer, "GLU variants improve transformer", arXiv 2002.05202.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


class TrainableSwiGLU(torch.autograd.Function):
    """silu(gate) · up of (…, 2F), gate first → (…, F)."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        ctx.save_for_backward(gate_up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        by_gate_up = torch.empty_like(gate_up)
        by_gate, by_up = by_gate_up.chunk(2, dim=-1)
        torch.mul(gradient, functional.silu(gate), out=by_up)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=by_gate)
        return by_gate_up
