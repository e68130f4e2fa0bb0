"""One run of any task: a recipe and encoded data in, a model's folder out; plain Python, no server.

It goes on where an earlier part of the same run in the same folder stopped. Under torchrun every
process calls it, and the first one writes.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from vermeil_data import OpenMixture
from vermeil_model import FusedModel
from vermeil_training import (
    OptimizerConfig,
    Progress,
    RunConfig,
    ScheduleConfig,
    TrainingConfig,
    World,
    best_device,
    fit,
    read_metrics,
)

from vermeil_trainer.fusing import continue_fused_model, make_fused_model, rates_of
from vermeil_trainer.fusion_map import write_fusion_map
from vermeil_trainer.learning import LEARNING, TRAIN, VALIDATION, Learning
from vermeil_trainer.model_folder import AnyModel, Data, num_parameters, write_model
from vermeil_trainer.network import continue_model, make_model
from vermeil_trainer.recipe import Recipe

MODEL = "model"
"""Subfolder of a run that holds the finished model."""
SAMPLES, NEWEST_SAMPLES = "samples", "samples.png"
"""Subfolder of what was drawn at each validation, and the last of them."""
_FREE_TO_CHANGE = frozenset(
    {"model.initial", "fusion.text", "fusion.image", "image.sampling_steps", "image.guidance"}
)
"""Fields of a recipe that may differ between the parts of a run."""


@dataclass(frozen=True)
class Trained:
    """How a run ended."""

    finished: bool
    """False if it was asked to stop; it can go on from its last checkpoint."""
    model: Path
    """The model's folder, whole if finished."""
    steps: int
    """Optimizer steps done."""
    unit: str
    """What was read: tokens or images."""
    items: int
    """So many of them, by all processes."""
    parameters: int
    """Weights of the model."""
    train_loss: float | None
    """Mean over the last lines of the log."""
    validation_loss: float | None
    """At the end."""
    best_validation_loss: float | None
    """The lowest that was measured."""
    measures: Mapping[str, float]
    """What the task measures beside the loss once it is finished."""
    seconds: float
    """Wall time in steps, over all parts of the run."""

    @property
    def items_per_second(self) -> float:
        """While learning, over all parts of the run."""
        return self.items / self.seconds if self.seconds else 0.0

    def results(self) -> dict[str, float | None]:
        """What equal runs have in common, by the names that people read."""
        return {
            "steps": self.steps,
            self.unit: self.items,
            "train_loss": self.train_loss,
            "validation_loss": self.validation_loss,
            "best_validation_loss": self.best_validation_loss,
            **self.measures,
        }

    def figures(self) -> dict[str, float | None]:
        """The results, with sizes and speeds."""
        speed = {"seconds": self.seconds, f"{self.unit}_per_second": self.items_per_second}
        return {**self.results(), "parameters": self.parameters, **speed}


def train(
    recipe: Recipe,
    data: Data,
    folder: Path,
    *,
    initial: Path | None = None,
    backbones: Mapping[str, Path] | None = None,
    world: World | None = None,
    on_progress: Callable[[Progress], object] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train in `folder`; the model is then in `folder`/model.

    It begins with the weights in `initial` if given, or with those of both `backbones`, "text" and
    "image", for task fusion.
    """
    world = world or World(device=best_device())
    task = LEARNING[recipe.task]
    model: AnyModel
    if recipe.task == "fusion":
        assert isinstance(data, OpenMixture)  # opened for this task
        if initial:
            model = continue_fused_model(recipe, data, initial)
        else:
            model = make_fused_model(recipe, data, backbones or {})
    else:
        model = continue_model(recipe, initial, data) if initial else make_model(recipe, data)
    result = fit(
        training_config(recipe),
        model,
        task.loader(recipe, data, model, TRAIN, world),
        task.loader(recipe, data, model, VALIDATION, world),
        folder,
        world=world,
        objective=task.objective(recipe, data),
        unit=task.unit,
        before_step=partial(task.before_step, recipe, model),
        on_validation=partial(_draw, task, recipe, data, model, folder),
        on_progress=on_progress,
        should_stop=should_stop,
    )
    measured = [line["validation_loss"] for line in read_metrics(folder) if "validation_loss" in line]
    trained = Trained(
        finished=result.finished,
        model=folder / MODEL,
        steps=result.step,
        unit=task.unit,
        items=result.items,
        parameters=num_parameters(model),
        train_loss=result.train_loss,
        validation_loss=result.validation_loss,
        best_validation_loss=min(measured, default=None),
        measures=_measures(task, data, model) if result.finished and world.leads else {},
        seconds=result.seconds,
    )
    if result.finished and world.leads:
        write_model(trained.model, model, recipe, data, trained.results())
    world.wait()
    return trained


def training_config(recipe: Recipe) -> TrainingConfig:
    """The loop's part of a recipe."""
    run = asdict(recipe.run)
    del run["batch_size"]
    return TrainingConfig(
        OptimizerConfig(**asdict(recipe.optimizer), rates=rates_of(recipe)),
        ScheduleConfig(**asdict(recipe.schedule)),
        RunConfig(**run),
        _given(recipe),
    )


def _given(recipe: Recipe) -> dict[str, object]:
    """The rest of a recipe, but for where things lie and how to look at them; loaders know their data."""
    found: dict[str, object] = {"run.batch_size": recipe.run.batch_size}
    for section in ("model", "image", "fusion", "adapter"):
        values = asdict(getattr(recipe, section))
        found |= {f"{section}.{name}": value for name, value in values.items()}
    return {name: value for name, value in found.items() if name not in _FREE_TO_CHANGE}


def _measures(task: Learning, data: Data, model: AnyModel) -> dict[str, float]:
    return {} if task.measure is None else task.measure(data, model.eval())


def _draw(task: Learning, recipe: Recipe, data: Data, model: AnyModel, folder: Path, step: int) -> None:
    """What people see of this step beside the loss curve: how open the gates are, and the picture, kept."""
    if isinstance(model, FusedModel):
        write_fusion_map(model, step, folder)
    if task.draw is None:
        return
    path = folder / SAMPLES / f"step-{step:08d}.png"
    task.draw(recipe, data, model, path)
    if path.exists():
        shutil.copyfile(path, folder / NEWEST_SAMPLES)
