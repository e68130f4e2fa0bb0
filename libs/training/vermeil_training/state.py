"""All that a run carries from one step to the next, and nothing else.

What is here is what a checkpoint holds; the loader brings its own state. Unusual: the generator is
for objectives that draw random numbers. The loop itself draws none and leaves the global one alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from vermeil_model.towers import Towers

from vermeil_training.adamw import Optimizer
from vermeil_training.config import TrainingConfig
from vermeil_training.optimizer import freeze, make_optimizers
from vermeil_training.world import World

Result = TypeVar("Result")


@dataclass
class TrainState:
    """One run in progress."""

    config: TrainingConfig
    world: World
    model: nn.Module
    """The plain model: where weights and gradients live."""
    forward: Callable[..., object]
    """The model as it is called: compiled or wrapped for several processes where asked."""
    optimizers: tuple[Optimizer, ...]
    average: list[Tensor] | None
    """Moving average of every trained weight, float32; None where none is kept."""
    generator: torch.Generator
    """For objectives that draw; its own on every process."""
    step: int = 0
    """Finished optimizer steps."""
    items: int = 0
    """Tokens or pictures read so far by all processes."""
    seconds: float = 0.0
    """Wall time spent in steps."""
    cpu_seconds: float = 0.0
    """Processor time spent in steps, over all threads of this process: of another run beside it there too."""
    losses: list[float] = field(default_factory=list)
    """Losses of the steps since the last line of the log."""
    parts: dict[str, list[float]] = field(default_factory=dict)
    """Parts of those losses by name: sum and count."""
    train_loss: float | None = None
    """Mean loss of the last line of the log."""
    validation_loss: float | None = None
    """As last measured."""
    validation_step: int = 0
    """When that was."""

    @property
    def parameters(self) -> list[Tensor]:
        """The weights that are trained, in the model's order."""
        return [weight for weight in self.model.parameters() if weight.requires_grad]


def make_state(config: TrainingConfig, model: nn.Module, world: World | None = None) -> TrainState:
    """A run before its first step. The model moves to the world's device."""
    world = world or World()
    run = config.run
    model.to(world.device).train()
    freeze(model, config.optimizer.rates)
    if run.activation_checkpointing:
        _recompute_layers(model)
    forward: nn.Module = torch.compile(model) if run.compile else model  # type: ignore[assignment]
    if world.size > 1:
        forward = nn.parallel.DistributedDataParallel(forward)
    state = TrainState(
        config=config,
        world=world,
        model=model,
        forward=forward,
        optimizers=make_optimizers(model, config.optimizer),
        average=None,
        generator=torch.Generator(world.device).manual_seed(run.seed * 65_536 + world.rank),
    )
    if run.ema_decay > 0:
        state.average = [weight.detach().float().clone() for weight in state.parameters]
    return state


@torch.no_grad()
def update_average(state: TrainState) -> None:
    """Draw the average towards the weights; quicker at first, so that the start is soon forgotten."""
    if state.average is not None:
        decay = min(state.config.run.ema_decay, (1 + state.step) / (10 + state.step))
        torch._foreach_lerp_(state.average, state.parameters, 1 - decay)


@torch.no_grad()
def adopt_average(state: TrainState) -> None:
    """Leave the averaged weights in the model for good."""
    if state.average is not None:
        torch._foreach_copy_(state.parameters, state.average)


@contextmanager
def averaged_weights(state: TrainState) -> Iterator[None]:
    """The model carries its averaged weights inside, where an average is kept."""
    if state.average is None:
        yield
        return
    weights = [weight.detach() for weight in state.parameters]
    kept = [weight.clone() for weight in weights]
    torch._foreach_copy_(weights, state.average)
    try:
        yield
    finally:
        torch._foreach_copy_(weights, kept)


def _recompute_layers(model: nn.Module) -> None:
    """Let every layer keep its input alone and compute the rest again on the way back.

    Layers are those of stacks, and those that a model goes through with several stacks at once.
    """
    for stack in [module for module in model.modules() if isinstance(module, nn.ModuleList)]:
        for layer in stack:
            layer.forward = _recomputed(layer.forward)
    if isinstance(model, Towers):
        model.joint_layer = _recomputed(model.joint_layer)  # type: ignore[method-assign]


def _recomputed(forward: Callable[..., Result]) -> Callable[..., Result]:
    def run(*arguments: object) -> Result:
        if not torch.is_grad_enabled():
            return forward(*arguments)
        result: Result = checkpoint(forward, *arguments, use_reentrant=False, preserve_rng_state=False)
        return result

    return run
