"""Which weights move how: hidden matrices by Muon, embeddings, head and norms by AdamW.

A hidden matrix is a matrix inside the stack of layers (an nn.ModuleList); whatever else a model
brings goes to AdamW. Fused matrices of the text tower are told to Muon in their pieces.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from vermeil_errors import InvalidInput
from vermeil_model.layers import Attention, FeedForward
from vermeil_model.opening import Opening

from vermeil_training.adamw import AdamW, Optimizer
from vermeil_training.config import OptimizerConfig
from vermeil_training.muon import Muon


def make_optimizers(model: nn.Module, config: OptimizerConfig) -> tuple[Optimizer, ...]:
    """The optimizers of a run; together they move every trained weight once."""
    hidden = {id(weight) for weight in _hidden_matrices(model)} if config.kind == "muon" else set()
    decaying = _decaying(model)
    by_rate: dict[float, list[Tensor]] = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            by_rate.setdefault(_rate(name, config.rates), []).append(weight)
    pieces = _pieces(model)
    return tuple(
        optimizer
        for rate, weights in by_rate.items()
        for optimizer in _optimizers_at(rate, weights, hidden, decaying, pieces, config)
    )


def freeze(model: nn.Module, rates: Mapping[str, float]) -> None:
    """Take no gradient of what has a rate of 0."""
    names = [name for name, _ in model.named_parameters()]
    for prefix in rates:
        if not any(name.startswith(prefix) for name in names):
            known = ", ".join(sorted({f"{name.split('.')[0]}." for name in names}))
            raise InvalidInput.for_field(
                "optimizer.rates", prefix, "begins the name of no weight", f"known are {known}"
            )
    for name, weight in model.named_parameters():
        if _rate(name, rates) == 0:
            weight.requires_grad_(False)


def _rate(name: str, rates: Mapping[str, float]) -> float:
    return next((rate for prefix, rate in rates.items() if name.startswith(prefix)), 1.0)


def _optimizers_at(
    rate: float,
    weights: list[Tensor],
    hidden: set[int],
    decaying: set[int],
    pieces: dict[Tensor, list[int]],
    config: OptimizerConfig,
) -> list[Optimizer]:
    """Those that move some weights at `rate` times the peaks."""
    by_muon = [weight for weight in weights if id(weight) in hidden]
    rest = [weight for weight in weights if id(weight) not in hidden]

    def adamw(weights: list[Tensor], weight_decay: float) -> AdamW:
        return AdamW(
            weights,
            learning_rate=rate * config.learning_rate,
            beta1=config.beta1,
            beta2=config.beta2,
            weight_decay=weight_decay,
        )

    matrices = adamw([weight for weight in rest if id(weight) in decaying], config.weight_decay)
    others = adamw([weight for weight in rest if id(weight) not in decaying], 0.0)
    muon = Muon(
        by_muon,
        learning_rate=rate * config.matrix_learning_rate,
        weight_decay=config.weight_decay,
        pieces=pieces,
    )
    found: tuple[Optimizer, ...] = (matrices, others, muon)
    return [optimizer for optimizer in found if optimizer.weights]


def clip_gradients(weights: list[Tensor], largest: float) -> Tensor:
    """The norm of the whole gradient before clipping, which leaves it at most `largest` (0: unclipped)."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if largest > 0:
        torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _hidden_matrices(model: nn.Module) -> list[Tensor]:
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    weights = {id(weight): weight for stack in stacks for weight in stack.parameters()}
    return [weight for weight in weights.values() if weight.ndim == 2 and weight.requires_grad]


def _decaying(model: nn.Module) -> set[int]:
    """Matrices; gates are none, whatever their shape: decay would shut them little by little."""
    parts = [module for module in model.modules() if isinstance(module, Opening)]
    gates = {id(gate) for part in parts for gate in part.parameters(recurse=False)}
    return {id(weight) for weight in model.parameters() if weight.ndim >= 2} - gates


def _pieces(model: nn.Module) -> dict[Tensor, list[int]]:
    pieces: dict[Tensor, list[int]] = {}
    for module in model.modules():
        if isinstance(module, Attention):
            query_rows = module.output.weight.shape[1]
            key_rows = (module.qkv.weight.shape[0] - query_rows) // 2
            pieces[module.qkv.weight] = [query_rows, key_rows, key_rows]
        elif isinstance(module, FeedForward):
            pieces[module.gate_up.weight] = [module.down.weight.shape[1]] * 2
    return pieces
