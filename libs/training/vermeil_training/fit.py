"""A run from its first step, or from its last checkpoint, to the end; reads top to bottom.

It knows neither where data comes from nor who asked: callers hand in a model, two loaders and a
folder, and hear of progress after every step.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vermeil_training.batches import Batches
from vermeil_training.checkpoint import restore_state, save_state
from vermeil_training.config import TrainingConfig
from vermeil_training.objectives import Objective, next_token_loss
from vermeil_training.pace import Pace, Progress, require_number
from vermeil_training.plots import draw_run
from vermeil_training.run_log import PLOT, RunLog
from vermeil_training.state import TrainState, adopt_average, averaged_weights, make_state
from vermeil_training.step import Stopped, evaluate_loss, never, train_step
from vermeil_training.world import World

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class TrainResult:
    """How a run ended. The model it was given carries the trained (averaged) weights if it finished."""

    finished: bool
    """False if it was asked to stop; a checkpoint then holds the state."""
    step: int
    """Finished optimizer steps."""
    items: int
    """Tokens or pictures read by all processes."""
    train_loss: float | None
    """Mean of the last line of the log."""
    validation_loss: float | None
    """As last measured."""
    seconds: float
    """Wall time in steps, over all parts of the run."""
    cpu_seconds: float
    """Processor time in steps, over all parts of the run; of the whole process, so of a run beside it too."""


def fit(
    config: TrainingConfig,
    model: nn.Module,
    loader: Batches[Any],
    validation: Batches[Any],
    folder: Path,
    *,
    world: World | None = None,
    objective: Objective[Any] = next_token_loss,
    unit: str = "tokens",
    before_step: Callable[[int], object] = lambda _: None,
    on_validation: Callable[[int], object] = lambda _: None,
    on_progress: Callable[[Progress], object] = lambda _: None,
    should_stop: Callable[[], bool] = never,
) -> TrainResult:
    """Train `model`, keeping checkpoints, log and plot in `folder`; go on there if they exist.

    `unit` names what batches count, in the log and in progress. Before each step every process calls
    `before_step` with the number of steps done; after each validation the first process calls
    `on_validation` with it, while the model carries the averaged weights. When `should_stop`
    answers true, the run writes a checkpoint and returns; when it raises, the run is abandoned as it
    stands.
    """
    state = make_state(config, model, world)
    restore_state(state, loader, folder / CHECKPOINTS)
    run, leads = config.run, state.world.leads
    pace = Pace(state, unit)
    with _open_log(folder, state) as log:
        try:
            while True:
                if _due(state, run.evaluate_every) and state.validation_step < state.step:
                    found = evaluate_loss(state, validation, run.evaluate_batches, objective, should_stop)
                    require_number("validation loss", found.loss, state.step)
                    state.validation_step, state.validation_loss = state.step, found.loss
                    parts = {f"validation_loss_{name}": value for name, value in found.parts.items()}
                    _write(log, state, {"validation_loss": found.loss, **parts})
                    _show(state, on_validation)
                if _due(state, run.checkpoint_every):
                    save_state(state, loader, folder / CHECKPOINTS)
                if leads:
                    on_progress(pace.progress())
                if state.step == run.steps:
                    break
                before_step(state.step)
                with pace.timed():
                    result = train_step(state, loader, objective, should_stop)
                    pace.read(result, now=any(_due(state, every) for every in _intervals(state)))
                if _due(state, run.log_every):
                    _write(log, state, pace.line(result))
        except Stopped:
            pace.read_all()
            save_state(state, loader, folder / CHECKPOINTS)
            return _result(state, finished=False)
    adopt_average(state)
    if leads:
        label = "loss (nats per token)" if unit == "tokens" else "loss"
        draw_run(folder, folder / PLOT, label)
    return _result(state, finished=True)


def _due(state: TrainState, every: int | None) -> bool:
    assert every is not None  # settled by RunConfig
    return state.step > 0 and (state.step % every == 0 or state.step == state.config.run.steps)


def _intervals(state: TrainState) -> tuple[int | None, ...]:
    run = state.config.run
    return run.log_every, run.evaluate_every, run.checkpoint_every


def _open_log(folder: Path, state: TrainState) -> AbstractContextManager[RunLog | None]:
    return RunLog(folder, state.step) if state.world.leads else nullcontext()


def _write(log: RunLog | None, state: TrainState, values: dict[str, float]) -> None:
    if log is not None:
        log.write(state.step, values)


def _show(state: TrainState, on_validation: Callable[[int], object]) -> None:
    if not state.world.leads:
        return
    state.model.eval()
    try:
        with averaged_weights(state):
            on_validation(state.step)
    finally:
        state.model.train()


def _result(state: TrainState, *, finished: bool) -> TrainResult:
    return TrainResult(
        finished=finished,
        step=state.step,
        items=state.items,
        train_loss=state.train_loss,
        validation_loss=state.validation_loss,
        seconds=state.seconds,
        cpu_seconds=state.cpu_seconds,
    )
