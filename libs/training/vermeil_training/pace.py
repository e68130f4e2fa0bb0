"""What the loop watches while it runs: losses as they become known, time, speed.

On an accelerator losses are read only when somebody will look at them; on CPU at every step. A loss or
a gradient that is no number ends the run here, before it can reach a checkpoint.
"""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from vermeil_errors import InvalidInput
from vermeil_model import TextModel, flops_per_token

from vermeil_training.precision import computes_in_bf16
from vermeil_training.state import TrainState
from vermeil_training.step import StepResult
from vermeil_training.throughput import peak_flops

_TRAINING = 3
"""Operations of a step over those of its forward pass."""


class Progress(NamedTuple):
    """Where a run stands after a step."""

    step: int
    """Finished steps."""
    steps: int
    """Steps in all."""
    unit: str
    """What is read: tokens or images."""
    items: int
    """So many of them so far, by all processes."""
    loss: float | None
    """Of the latest step that was read from the device."""
    items_per_second: float
    """Over the steps since the last line of the log."""
    validation_loss: float | None
    """As last measured."""


class Pace:
    """One part of a run, from its start or its resumption."""

    def __init__(self, state: TrainState, unit: str) -> None:
        self._state = state
        self._unit = unit
        self._unread: list[tuple[int, StepResult]] = []
        self._loss: float | None = None
        self._mark = (state.items, state.seconds)
        self._rate = 0.0
        self._work: dict[str, _Done] = {}

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time inside as training."""
        start, cpu_start = time.perf_counter(), time.process_time()
        yield
        state = self._state
        state.seconds += time.perf_counter() - start
        state.cpu_seconds += time.process_time() - cpu_start
        items, seconds = self._mark
        self._rate = (state.items - items) / max(state.seconds - seconds, 1e-9)

    def read(self, result: StepResult, *, now: bool) -> None:
        """Take note of a step's loss; read it from the device where it costs nothing, or `now`."""
        self._unread.append((self._state.step, result))
        if now or result.loss.device.type == "cpu":
            self.read_all()

    def read_all(self) -> None:
        """Take note of all that is still on the device: a checkpoint holds the losses before it."""
        for step, unread in self._unread:
            self._loss = float(unread.loss)
            require_number("loss", self._loss, step)
            require_number("norm of the gradient", float(unread.gradient_norm), step)
            self._state.losses.append(self._loss)
            for name, (sum_, count) in unread.parts.items():
                known = self._state.parts.setdefault(name, [0.0, 0.0])
                known[0] += float(sum_)
                known[1] += float(count)
            for name, work in unread.work.items():
                done = self._work.setdefault(name, _Done(work.unit))
                done.num_read += float(work.num_read)
                done.flops += _TRAINING * float(work.flops)
        self._unread.clear()

    def line(self, result: StepResult) -> dict[str, float]:
        """The figures of a line of the log; the next line starts afresh."""
        state = self._state
        state.train_loss = math.fsum(state.losses) / len(state.losses)
        parts = {f"loss_{name}": sum_ / count for name, (sum_, count) in state.parts.items() if count}
        state.losses.clear()
        state.parts.clear()
        seconds = max(state.seconds - self._mark[1], 1e-9)
        self._mark = (state.items, state.seconds)
        figures = {
            "loss": state.train_loss,
            **parts,
            "gradient_norm": float(result.gradient_norm),
            self._unit: float(state.items),
            "seconds": state.seconds,
            "cpu_seconds": state.cpu_seconds,
            f"{self._unit}_per_second": self._rate,
        }
        for optimizer in state.optimizers:
            name = f"learning_rate_{type(optimizer).__name__.lower()}"
            rate = optimizer.learning_rate * result.learning_rate_factor
            figures[name] = max(rate, figures.get(name, 0.0))
        return figures | self._speeds(seconds)

    def progress(self) -> Progress:
        """For people who wait."""
        state = self._state
        return Progress(
            step=state.step,
            steps=state.config.run.steps,
            unit=self._unit,
            items=state.items,
            loss=self._loss,
            items_per_second=self._rate,
            validation_loss=state.validation_loss,
        )

    def _speeds(self, seconds: float) -> dict[str, float]:
        """By modality, and the part of the devices' peak that went into the model's matrix products (MFU)."""
        model, work = self._state.model, self._work
        self._work = {}
        if isinstance(model, TextModel):
            return {
                "mfu": self._rate * flops_per_token(model.config, model.config.context_length) / self._peak()
            }
        if not work:
            return {}
        used = {f"mfu_{name}": done.flops / seconds / self._peak() for name, done in work.items()}
        rates = {f"{done.unit}_per_second": done.num_read / seconds for done in work.values()}
        return rates | used | {"mfu": math.fsum(used.values())}

    def _peak(self) -> float:
        """Operations per second that all devices together could do."""
        state = self._state
        device = state.world.device
        in_bf16 = computes_in_bf16(state.config.run.precision, device)
        return peak_flops(device, torch.bfloat16 if in_bf16 else torch.float32) * state.world.size


def require_number(what: str, value: float, step: int) -> None:
    """End a run whose numbers broke down."""
    if not math.isfinite(value):
        raise InvalidInput(
            f"the {what} is {value} at step {step}; checkpoints before it are kept",
            fix="lower optimizer.learning_rate and matrix_learning_rate, or warm up longer",
        )


@dataclass
class _Done:
    """In one modality since the last line of the log."""

    unit: str
    num_read: float = 0.0
    flops: float = 0.0
