"""One optimizer step, and the loss on data that is not learned from.

An objective turns a batch into a loss; the default is next-token prediction. What a batch holds is
between loader and objective. Losses come back as tensors on the device, so that an accelerator is not
made to wait for Python.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vermeil_training.batches import Batches
from vermeil_training.objectives import Losses, Objective, SeveralMeans, Work, next_token_loss
from vermeil_training.optimizer import clip_gradients
from vermeil_training.precision import computes_in_bf16
from vermeil_training.schedule import learning_rate_factor
from vermeil_training.state import TrainState, averaged_weights, update_average
from vermeil_training.world import World

Parts = dict[str, tuple[Tensor, Tensor]]
"""Parts of a loss by name: sum and count."""


class StepResult(NamedTuple):
    """What one step tells."""

    loss: Tensor
    """Mean over all that micro-batches and processes learn from."""
    gradient_norm: Tensor
    """Before clipping."""
    learning_rate_factor: float
    """The schedule's, on every peak."""
    parts: Parts
    """Of the loss, as sums and counts over micro-batches and processes."""
    work: Mapping[str, Work]
    """By modality, over micro-batches and processes."""


class Validation(NamedTuple):
    """What data that are not learned from tell."""

    loss: float
    """Mean over counted targets."""
    parts: Mapping[str, float]
    """The mean of each of its parts that the batches had."""


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
    """Read `accumulation` batches and move the weights once, as one batch of all of them would.

    What a batch counts goes with how much is learned from it, on all processes together.
    """
    run, world = state.config.run, state.world
    position, drawn = loader.state(), state.generator.get_state()
    loss = torch.zeros((), device=world.device)
    parts: Parts = {}
    work: dict[str, Work] = {}
    num_items = 0
    batches = [next(loader) for _ in range(run.accumulation)]
    for micro, (batch_here, share_K) in enumerate(
        zip(batches, _shares(objective, batches, world), strict=True)
    ):
        if world.any(should_stop()):
            loader.restore(position)
            state.generator.set_state(drawn)
            _drop_gradients(state)
            raise Stopped
        batch = batch_here.to(world.device)
        with _gradients_exchanged(state, micro == run.accumulation - 1):
            with compute_precision(state):
                found = _as_losses(objective(state.forward, batch, state.generator))
            weighed = (_means(found) * share_K).sum()
            weighed.backward()  # type: ignore[no-untyped-call]
        loss += weighed.detach()
        _add(parts, found)
        _add_work(work, found)
        num_items += batch.num_items
    norm = clip_gradients(state.parameters, state.config.optimizer.gradient_clip)
    factor = learning_rate_factor(state.config.schedule, state.step, run.steps)
    for optimizer in state.optimizers:
        optimizer.step(factor)
    _drop_gradients(state)
    state.step += 1
    state.items += num_items * world.size
    update_average(state)
    done = {
        name: each._replace(num_read=world.total(each.num_read), flops=world.total(each.flops))
        for name, each in work.items()
    }
    return StepResult(world.mean(loss), norm, factor, _total(parts, world), done)


@torch.no_grad()
def evaluate_loss(
    state: TrainState,
    batches: Batches[Any],
    num_batches: int,
    objective: Objective[Any] = next_token_loss,
    should_stop: Callable[[], bool] = never,
) -> Validation:
    """Mean loss over what the next batches teach; the same batches and the same draws every time.

    Averaged weights are used where the run keeps them.
    """
    world = state.world
    position = batches.state()
    generator = torch.Generator(world.device).manual_seed(world.rank)
    total = torch.zeros((), dtype=torch.float64, device=world.device)
    counted = torch.zeros_like(total)
    parts: Parts = {}
    state.model.eval()
    try:
        with averaged_weights(state), compute_precision(state):
            for _ in range(num_batches):
                if world.any(should_stop()):
                    raise Stopped
                batch = next(batches).to(world.device)
                weights_K = _weights(objective, batch, world)
                found = _as_losses(objective(state.model, batch, generator))
                total = total + _means(found) * weights_K
                counted = counted + weights_K
                _add(parts, found)
    finally:
        state.model.train()
        batches.restore(position)
    total, counted = world.total(total), world.total(counted)
    return Validation(
        float((total / counted)[counted > 0].sum()) if counted.any() else math.nan,
        {name: float(sum_ / count) for name, (sum_, count) in _total(parts, world).items() if count > 0},
    )


def _shares(objective: Objective[Any], batches: Sequence[Any], world: World) -> list[Tensor]:
    """What each batch's means count of those of all batches and processes, (K).

    Times the number of processes: gradients are averaged over them.
    """
    weights = [_weights(objective, batch, world) for batch in batches]
    all_K = world.total(torch.stack(weights).sum(0)).clamp_min(torch.finfo(torch.float32).tiny)
    return [(weights_K * world.size / all_K).float() for weights_K in weights]


def _weights(objective: Objective[Any], batch: Any, world: World) -> Tensor:
    """How much the means of a batch's loss are over, (K)."""
    if isinstance(objective, SeveralMeans):
        weights_K = objective.weights(batch)
    else:
        weights_K = torch.as_tensor(batch.num_targets)[None]
    return weights_K.to(world.device, torch.float64)


def _means(found: Losses) -> Tensor:
    return found.total[None] if found.means is None else found.means


def _as_losses(found: Tensor | Losses) -> Losses:
    return found if isinstance(found, Losses) else Losses(found, {})


def _add(parts: Parts, found: Losses) -> None:
    for name, (sum_, count) in found.parts.items():
        before = parts.get(name, (0.0, 0.0))
        parts[name] = (before[0] + sum_.detach(), before[1] + count)


def _add_work(work: dict[str, Work], found: Losses) -> None:
    for name, each in found.work.items():
        before = work.get(name)
        if before is not None:
            each = each._replace(num_read=before.num_read + each.num_read, flops=before.flops + each.flops)  # noqa: PLW2901
        work[name] = each


def _total(parts: Parts, world: World) -> Parts:
    return {name: (world.total(sum_), world.total(count)) for name, (sum_, count) in parts.items()}


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
