"""Which weights move how: hidden matrices by Muon, embeddings, head and norms by fused AdamW.

A hidden matrix is a matrix inside the stack of layers (an nn.ModuleList); whatever else a model
brings goes to AdamW. Fused matrices of the text tower are told to Muon in their pieces.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from vermeil_model.layers import Attention, FeedForward

from vermeil_training.config import OptimizerConfig
from vermeil_training.muon import Muon


def make_optimizers(model: nn.Module, config: OptimizerConfig) -> tuple[Optimizer, ...]:
    """The optimizers of a run; each group remembers its peak learning rate as `peak`."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    hidden = _hidden_matrices(model) if config.kind == "muon" else []
    taken = {id(weight) for weight in hidden}
    rest = [weight for weight in trained if id(weight) not in taken]
    decaying = [weight for weight in rest if weight.ndim >= 2]
    vectors = [weight for weight in rest if weight.ndim < 2]
    optimizers: list[Optimizer] = [
        torch.optim.AdamW(
            [
                {"params": decaying, "weight_decay": config.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            fused=True,
        )
    ]
    if hidden:
        optimizers.append(
            Muon(
                hidden,
                learning_rate=config.matrix_learning_rate,
                weight_decay=config.weight_decay,
                pieces=_pieces(model),
            )
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return tuple(optimizers)


def set_learning_rates(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Every group at `factor` of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor


def clip_gradients(parameters: list[Tensor], largest: float) -> Tensor:
    """The norm of the whole gradient before clipping, which leaves it at most `largest` (0: unclipped)."""
    gradients = [weight.grad for weight in parameters if weight.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if largest > 0:
        torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    weights = {id(weight): weight for stack in stacks for weight in stack.parameters()}
    return [weight for weight in weights.values() if weight.ndim == 2 and weight.requires_grad]


def _pieces(model: nn.Module) -> dict[Tensor, tuple[int, ...]]:
    pieces: dict[Tensor, tuple[int, ...]] = {}
    for module in model.modules():
        if isinstance(module, Attention):
            rows = module.output.weight.shape[1]
            key_value_rows = (module.qkv.weight.shape[0] - rows) // 2
            pieces[module.qkv.weight] = (rows, key_value_rows, key_value_rows)
        elif isinstance(module, FeedForward):
            rows = module.down.weight.shape[1]
            pieces[module.gate_up.weight] = (rows, rows)
    return pieces
