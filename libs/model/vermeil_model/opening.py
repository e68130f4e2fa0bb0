"""What joins towers and is opened slowly: shut, each computes exactly what it computed alone.

A schedule raises `openness` from 0 to 1. Keys of the other tower weigh α times what they would, by a bias of
log α on their scores.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vermeil_model.config import require

LEAST_GATE = 1e-20
"""Added to α, so that its logarithm is finite: what this lets through is far below float32's rounding."""


class Opening(nn.Module):
    """A joint part that can be shut; fresh ones are open."""

    openness: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("openness", torch.ones(()))

    def set_openness(self, openness: float) -> None:
        """Shut (0) or open (1) it, or anything between."""
        require(0 <= openness <= 1, "openness", openness, "is no share", "Use 0 to 1.")
        self.openness.fill_(openness)


def log_gate(alpha: Tensor) -> Tensor:
    """log α, the bias of a score; finite where α is 0."""
    return (alpha + LEAST_GATE).log()
