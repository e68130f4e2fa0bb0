"""Muon: momentum whose direction is orthogonalised, for hidden matrices.

The same update as torch.optim.Muon. Unusual: matrices of one shape are orthogonalised together, in
batches that stay in the cache on CPU, which is up to twice as fast where matrices are small; and
`pieces` splits a fused matrix (query, key, value in one) so that each part gets its own update.

Letters: K matrices, M rows, N columns.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration (Keller Jordan): steep at zero, singular values end up in 0.7 … 1.2."""

CPU_BATCH_ELEMENTS = 512 * 1024
"""Elements that stay in a core's cache with their products; larger matrices go one by one."""


class Muon(torch.optim.Optimizer):
    """Orthogonalised Nesterov momentum with decoupled weight decay."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        learning_rate: float = 0.02,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        iterations: int = 5,
        pieces: Mapping[Tensor, tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__(
            parameters, {"lr": learning_rate, "weight_decay": weight_decay, "momentum": momentum}
        )
        self._iterations = iterations
        self._pieces = dict(pieces or {})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move every matrix that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        weights = [weight for weight in group["params"] if weight.grad is not None]
        if not weights:
            return
        gradients = [weight.grad for weight in weights]
        momenta = [self._momentum(weight) for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        directions = torch._foreach_lerp(gradients, momenta, group["momentum"])
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight, direction in zip(weights, directions, strict=True):
            sizes = self._pieces.get(weight, (weight.shape[0],))
            for piece, towards in zip(
                torch.split(weight, list(sizes)), torch.split(direction, list(sizes)), strict=True
            ):
                by_shape[piece.shape].append((piece, towards))
        for shape, pairs in by_shape.items():
            scale = math.sqrt(max(1.0, shape[0] / shape[1]))
            size = _batch_size(shape, pairs[0][0].device)
            for start in range(0, len(pairs), size):
                batch = pairs[start : start + size]
                updates_KMN = orthogonalised(torch.stack([towards for _, towards in batch]), self._iterations)
                torch._foreach_add_(
                    [piece for piece, _ in batch],
                    list(updates_KMN.to(batch[0][0].dtype).unbind()),
                    alpha=-group["lr"] * scale,
                )

    def _momentum(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight)
        momentum: Tensor = state["momentum"]
        return momentum


def orthogonalised(matrices_KMN: Tensor, iterations: int = 5) -> Tensor:
    """Each matrix with its singular values drawn towards 1, in bf16 (Newton–Schulz)."""
    a, b, c = COEFFICIENTS
    tall = matrices_KMN.shape[-2] > matrices_KMN.shape[-1]
    x = matrices_KMN.to(torch.bfloat16)
    x = x.mT if tall else x
    # A Frobenius norm of 1 keeps every singular value in the iteration's range of [0, 1].
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def _batch_size(shape: torch.Size, device: torch.device) -> int:
    if device.type != "cpu":
        return 1024
    return max(1, CPU_BATCH_ELEMENTS // shape.numel())
