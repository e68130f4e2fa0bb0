"""One optimizer step, and the loss on data that is not learned from.

An objective turns a batch into a loss; the default is next-token prediction. What a batch holds is
between loader and objective. Losses come back as tensors on the device, so that an accelerator is not
made to wait for Python.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vermeil_training.batches import Batches
from vermeil_training.objectives import Objective, next_token_loss
from vermeil_training.optimizer import clip_gradients
from vermeil_training.precision import computes_in_bf16
from vermeil_training.schedule import learning_rate_factor
from vermeil_training.state import TrainState, averaged_weights, update_average


class StepResult(NamedTuple):
    """What one step tells."""

    loss: Tensor
    """Mean over micro-batches and processes."""
    gradient_norm: Tensor
    """Before clipping."""
    learning_rate_factor: float
    """The schedule's, on every peak."""


class Stopped(Exception):  # noqa: N818
    """Asked to stop in mid-step: the state is as it was before the step."""


def never() -> bool:
    """Nobody asks to stop."""
    return False


def train_step(
    state: TrainState,
    loader: Batches[Any],
    objective: Objective[Any] = next_token_loss,
    should_stop: Callable[[], bool] = never,
) -> StepResult:
    """Read `accumulation` batches and move the weights once."""
    run, world = state.config.run, state.world
    position, drawn = loader.state(), state.generator.get_state()
    loss = torch.zeros((), device=world.device)
    num_items = 0
    for micro in range(run.accumulation):
        if world.any(should_stop()):
            loader.restore(position)
            state.generator.set_state(drawn)
            _drop_gradients(state)
            raise Stopped
        batch = next(loader).to(world.device)
        with _gradients_exchanged(state, micro == run.accumulation - 1):
            with compute_precision(state):
                part = objective(state.forward, batch, state.generator) / run.accumulation
            part.backward()  # type: ignore[no-untyped-call]
        loss += part.detach()
        num_items += batch.num_items
    norm = clip_gradients(state.parameters, state.config.optimizer.gradient_clip)
    factor = learning_rate_factor(state.config.schedule, state.step, run.steps)
    for optimizer in state.optimizers:
        optimizer.step(factor)
    _drop_gradients(state)
    state.step += 1
    state.items += num_items * world.size
    update_average(state)
    return StepResult(world.mean(loss), norm, factor)


@torch.no_grad()
def evaluate_loss(
    state: TrainState,
    batches: Batches[Any],
    num_batches: int,
    objective: Objective[Any] = next_token_loss,
    should_stop: Callable[[], bool] = never,
) -> float:
    """Mean loss over counted targets of the next batches; the same batches and the same draws every time.

    Averaged weights are used where the run keeps them.
    """
    world = state.world
    position = batches.state()
    generator = torch.Generator(world.device).manual_seed(world.rank)
    total = torch.zeros((), dtype=torch.float64, device=world.device)
    counted = torch.zeros_like(total)
    state.model.eval()
    try:
        with averaged_weights(state), compute_precision(state):
            for _ in range(num_batches):
                if world.any(should_stop()):
                    raise Stopped
                batch = next(batches).to(world.device)
                num_targets = batch.num_targets
                total += objective(state.model, batch, generator) * num_targets
                counted += num_targets
    finally:
        state.model.train()
        batches.restore(position)
    return float(world.total(total) / world.total(counted))


def compute_precision(state: TrainState) -> AbstractContextManager[object]:
    """Autocast to bf16 where the run computes in it."""
    if not computes_in_bf16(state.config.run.precision, state.world.device):
        return nullcontext()
    return torch.autocast(state.world.device.type, dtype=torch.bfloat16)


def _gradients_exchanged(state: TrainState, last: bool) -> AbstractContextManager[object]:
    """Processes exchange gradients in the last micro-batch alone."""
    if isinstance(state.forward, nn.parallel.DistributedDataParallel) and not last:
        return state.forward.no_sync()
    return nullcontext()


def _drop_gradients(state: TrainState) -> None:
    for weight in state.parameters:
        weight.grad = None
