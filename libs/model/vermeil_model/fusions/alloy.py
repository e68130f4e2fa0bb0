"""Alloy: joint attention behind gates that open slowly, so that nothing is forgotten at the start.

A score between modalities gets the bias log α, one α a layer, head and direction. At α = 0 each tower
computes exactly what it computed alone, at α = 1 it is a mixture of transformers. α = openness · max(a, 0),
where a is learned from 1 on and `openness` is raised from 0 to 1 by a schedule: left to itself near 0, α
hardly grows.

Letters: N layers, H query heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vermeil_model.config import require
from vermeil_model.fused_config import FusedConfig
from vermeil_model.fused_model import options_of
from vermeil_model.opening import Opening, log_gate
from vermeil_model.towers import Towers


@dataclass(frozen=True)
class AlloyOptions:
    """How the gates begin."""

    start: float = 1.0
    """Of a, at least 0."""

    def __post_init__(self) -> None:
        known = isinstance(self.start, int | float) and not isinstance(self.start, bool)
        require(
            known and 0 <= self.start < float("inf"),
            "options.start",
            self.start,
            "is no number of at least 0",
            "1 is usual.",
        )


class Gates(Opening):
    """One α a layer, head and direction."""

    def __init__(self, num_layers: int, num_heads: int, start: float) -> None:
        super().__init__()
        self.gate_NH2 = nn.Parameter(torch.full((num_layers, num_heads, 2), start))

    def forward(self) -> Tensor:
        """α, (N, H, 2): of text that looks at pictures, and of pictures that look at text."""
        alpha_NH2: Tensor = _NotBelowZero.apply(self.gate_NH2)
        return alpha_NH2 * self.openness


class _NotBelowZero(torch.autograd.Function):
    """max(a, 0), whose gradient also reaches an a below 0 if it leads up, so that no gate stays shut."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        ctx.save_for_backward(a)
        return a.clamp_min(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (a,) = ctx.saved_tensors
        return gradient.masked_fill((a < 0) & (gradient > 0), 0)


class Alloy(Towers):
    """Towers with a gate on what they see of one another."""

    joint: Gates

    def __init__(self, config: FusedConfig) -> None:
        super().__init__(config)
        self._start = options_of(AlloyOptions, config.options).start
        self.joint = Gates(config.text.depth, config.text.num_heads, self._start)

    @classmethod
    def check(cls, config: FusedConfig) -> None:
        """Towers of equal heads."""
        super().check(config)
        options_of(AlloyOptions, config.options)

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`; the gates begin as the options say."""
        super().init_weights(generator)
        nn.init.constant_(self.joint.gate_NH2, self._start)

    def alloy(self) -> Tensor:
        """α of every layer, head and direction, (N, H, 2): where, and how much, the model fuses."""
        alpha_NH2: Tensor = self.joint()
        return alpha_NH2.detach()

    def set_openness(self, openness: float) -> None:
        """Shut (0) or open (1) all gates, or anything between."""
        self.joint.set_openness(openness)

    def log_gates(self) -> Tensor:
        """log α."""
        return log_gate(self.joint())
