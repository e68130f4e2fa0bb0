"""Muon: momentum whose direction is orthogonalised, for hidden matrices.

The same update as torch.optim.Muon. Unusual: matrices of one shape are orthogonalised together, in
batches that stay in the cache on CPU, which is twice as fast where matrices are small; and `pieces`
splits a fused matrix (query, key, value in one) so that each part gets its own update.

Letters: K matrices, M rows, N columns.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from vermeil_model.bfloat16 import multiplies_bfloat16

from vermeil_training.adamw import with_gradient

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration (Keller Jordan): steep at zero, singular values end up in 0.7 … 1.2."""

CPU_BATCH_ELEMENTS = 1 << 20
"""Elements that stay in a core's cache with their products."""
BATCH_MATRICES = 1024
"""Matrices at once on an accelerator."""


class Muon:
    """Orthogonalised Nesterov momentum with decoupled weight decay."""

    def __init__(
        self,
        weights: Sequence[Tensor],
        *,
        learning_rate: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        pieces: Mapping[Tensor, Sequence[int]] | None = None,
    ) -> None:
        """`pieces` gives the rows of each part of a fused matrix."""
        self.weights = weights
        self.learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._momentum = momentum
        self._rows = [list((pieces or {}).get(weight, weight.shape[:1])) for weight in weights]
        self.slots: Mapping[str, Sequence[Tensor]] = {
            "momentum": [torch.zeros_like(weight) for weight in weights]
        }

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """Move every weight that has a gradient, at `factor` of the peak learning rate."""
        learning_rate = self.learning_rate * factor
        moved = with_gradient(self.weights)
        if not moved:
            return
        gradients = list(moved.values())
        weights = [self.weights[index] for index in moved]
        momenta = [self.slots["momentum"][index] for index in moved]
        torch._foreach_lerp_(momenta, gradients, 1 - self._momentum)
        directions = torch._foreach_lerp(gradients, momenta, self._momentum)
        torch._foreach_mul_(weights, 1 - learning_rate * self._weight_decay)
        for batch in self._batches(moved, weights, directions):
            pieces, towards = zip(*batch, strict=True)
            updates_KMN = orthogonalised(torch.stack(towards)).to(pieces[0].dtype)
            scale = math.sqrt(max(1.0, pieces[0].shape[0] / pieces[0].shape[1]))
            torch._foreach_add_(pieces, updates_KMN.unbind(), alpha=-learning_rate * scale)

    def _batches(
        self, moved: Iterable[int], weights: list[Tensor], directions: Sequence[Tensor]
    ) -> list[list[tuple[Tensor, Tensor]]]:
        """(part of a weight, its direction) of one shape, as many together as are quickest."""
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for index, weight, direction in zip(moved, weights, directions, strict=True):
            rows = self._rows[index]
            for piece, towards in zip(torch.split(weight, rows), torch.split(direction, rows), strict=True):
                by_shape[piece.shape].append((piece, towards))
        batches = []
        for shape, pairs in by_shape.items():
            on_cpu = pairs[0][0].device.type == "cpu"
            size = max(1, CPU_BATCH_ELEMENTS // shape.numel()) if on_cpu else BATCH_MATRICES
            batches += [pairs[start : start + size] for start in range(0, len(pairs), size)]
        return batches


def orthogonalised(matrices_KMN: Tensor, iterations: int = 5) -> Tensor:
    """Each matrix with its singular values drawn towards 1 (Newton–Schulz), in bf16 where that is quick."""
    a, b, c = COEFFICIENTS
    tall = matrices_KMN.shape[-2] > matrices_KMN.shape[-1]
    in_bf16 = multiplies_bfloat16(matrices_KMN.device.type)
    x = matrices_KMN.to(torch.bfloat16 if in_bf16 else torch.float32)
    x = x.mT if tall else x
    # A Frobenius norm of 1 keeps every singular value in the iteration's range of [0, 1].
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
