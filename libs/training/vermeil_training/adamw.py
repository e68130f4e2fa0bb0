"""AdamW for whatever is no hidden matrix, as one fused kernel over all weights.

The same update as torch.optim.AdamW(fused=True), from the same kernel. Unusual: neither this nor Muon
is a torch.optim.Optimizer, because making the first of those imports torch._dynamo: more than four
seconds of a core before the first step.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

EPSILON = 1e-8


class Optimizer(Protocol):
    """Moves some weights along their gradients."""

    weights: Sequence[Tensor]
    """What it moves."""
    learning_rate: float
    """At its peak."""
    slots: Mapping[str, Sequence[Tensor]]
    """What it remembers of each weight, in order, by name; a checkpoint holds it."""

    def step(self, factor: float) -> None:
        """Move every weight that has a gradient, at `factor` of the peak learning rate."""


def with_gradient(weights: Sequence[Tensor]) -> dict[int, Tensor]:
    """The gradients of those weights that have one, by their place."""
    return {place: weight.grad for place, weight in enumerate(weights) if weight.grad is not None}


class AdamW:
    """Adam with decoupled weight decay."""

    def __init__(
        self,
        weights: Sequence[Tensor],
        *,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        self.weights = weights
        self.learning_rate = learning_rate
        self._betas = (beta1, beta2)
        self._weight_decay = weight_decay
        self.slots: Mapping[str, Sequence[Tensor]] = {
            "mean": [torch.zeros_like(weight) for weight in weights],
            "square": [torch.zeros_like(weight) for weight in weights],
            "count": [torch.zeros((), device=weight.device) for weight in weights],
        }

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Move every weight that has a gradient, at `factor` of the peak learning rate."""
        moved = with_gradient(self.weights)
        if not moved:
            return
        means, squares, counts = (
            [self.slots[name][index] for index in moved] for name in ("mean", "square", "count")
        )
        torch._foreach_add_(counts, 1)
        torch._fused_adamw_(
            [self.weights[index] for index in moved],
            list(moved.values()),
            means,
            squares,
            [],
            counts,
            lr=self.learning_rate * factor,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=self._weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )
