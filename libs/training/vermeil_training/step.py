"""One optimizer step, and the loss on data that is not learned from.

An objective turns a batch into a loss; the default is next-token prediction. Losses come back as
tensors on the device, so that an accelerator is not made to wait for Python.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from vermeil_data.loader import Batch, LoaderState

from vermeil_training.optimizer import clip_gradients
from vermeil_training.precision import computes_in_bf16
from vermeil_training.schedule import learning_rate_factor
from vermeil_training.state import TrainState, averaged_weights, update_average

IGNORED_TARGET = -100
"""Targets of this value do not count."""


class Batches(Protocol):
    """An endless row of batches that knows where it stands."""

    def __next__(self) -> Batch:
        """The next batch of this process."""

    def state(self) -> LoaderState:
        """Where it stands."""

    def restore(self, state: LoaderState, /) -> None:
        """Go on from there."""


class Objective(Protocol):
    """What is made small."""

    def __call__(self, model: Callable[..., object], batch: Batch, generator: torch.Generator) -> Tensor:
        """Mean loss of a batch on the model's device; random numbers come from the generator alone."""


class StepResult(NamedTuple):
    """What one step tells."""

    loss: Tensor
    """Mean over micro-batches and processes, in nats."""
    gradient_norm: Tensor
    """Before clipping."""
    learning_rate_factor: float
    """The schedule's, on every peak."""
    context_length: int
    """Tokens in a row of the batch."""


class Stopped(Exception):  # noqa: N818
    """Asked to stop in mid-step: the state is as it was before the step."""


def never() -> bool:
    """Nobody asks to stop."""
    return False


def next_token_loss(model: Callable[..., object], batch: Batch, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Mean cross entropy of every next token, in nats."""
    output = model(batch.tokens_BT, targets_BT=batch.targets_BT, documents_BT=batch.documents_BT)
    loss: Tensor = output.loss  # type: ignore[attr-defined]
    return loss


def train_step(
    state: TrainState,
    loader: Batches,
    objective: Objective = next_token_loss,
    should_stop: Callable[[], bool] = never,
) -> StepResult:
    """Read `accumulation` batches and move the weights once."""
    run, world = state.config.run, state.world
    position, drawn = loader.state(), state.generator.get_state()
    loss = torch.zeros((), device=world.device)
    num_tokens = 0
    for micro in range(run.accumulation):
        if world.any(should_stop()):
            loader.restore(position)
            state.generator.set_state(drawn)
            _drop_gradients(state)
            raise Stopped
        batch = _on_device(next(loader), world.device)
        with _gradients_exchanged(state, micro == run.accumulation - 1):
            with compute_precision(state):
                part = objective(state.forward, batch, state.generator) / run.accumulation
            part.backward()  # type: ignore[no-untyped-call]
        loss += part.detach()
        num_tokens += batch.tokens_BT.numel()
    norm = clip_gradients(state.parameters, state.config.optimizer.gradient_clip)
    factor = learning_rate_factor(state.config.schedule, state.step, run.steps)
    for optimizer in state.optimizers:
        optimizer.step(factor)
    _drop_gradients(state)
    state.step += 1
    state.tokens += num_tokens * world.size
    update_average(state)
    return StepResult(world.mean(loss), norm, factor, batch.tokens_BT.shape[1])


@torch.no_grad()
def evaluate_loss(
    state: TrainState,
    batches: Batches,
    num_batches: int,
    objective: Objective = next_token_loss,
    should_stop: Callable[[], bool] = never,
) -> float:
    """Mean loss over counted targets of the next batches, in nats; the same batches every time.

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
                batch = _on_device(next(batches), world.device)
                num_targets = (batch.targets_BT != IGNORED_TARGET).sum()
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


def _on_device(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    return Batch(
        *(None if part is None else part.pin_memory().to(device, non_blocking=True) for part in batch)  # type: ignore[arg-type]
    )


def _gradients_exchanged(state: TrainState, last: bool) -> AbstractContextManager[object]:
    """Processes exchange gradients in the last micro-batch alone."""
    if isinstance(state.forward, nn.parallel.DistributedDataParallel) and not last:
        return state.forward.no_sync()
    return nullcontext()


def _drop_gradients(state: TrainState) -> None:
    for weight in state.parameters:
        weight.grad = None
