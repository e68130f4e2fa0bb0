"""One run: a recipe and an encoded dataset in, a model's folder out; plain Python without any server.

It goes on where an earlier part of the same run in the same folder stopped. Under torchrun every
process calls it, and the first one writes.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from vermeil_data import EncodedDataset, Loader
from vermeil_model import TextModel, count_parameters
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

from vermeil_trainer.model_folder import write_model
from vermeil_trainer.network import continue_model, make_model
from vermeil_trainer.recipe import Recipe

MODEL = "model"
"""Subfolder of a run that holds the finished model."""


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
    """Mean over the last lines of the log, in nats a token."""
    validation_loss: float | None
    """At the end, in nats a token."""
    best_validation_loss: float | None
    """The lowest that was measured."""
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
        }

    def figures(self) -> dict[str, float | None]:
        """The results, with sizes and speeds."""
        speed = {"seconds": self.seconds, f"{self.unit}_per_second": self.items_per_second}
        return {**self.results(), "parameters": self.parameters, **speed}


def train(
    recipe: Recipe,
    encoded: EncodedDataset,
    folder: Path,
    *,
    initial: Path | None = None,
    world: World | None = None,
    on_progress: Callable[[Progress], object] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train in `folder`, from the weights in `initial` if given; the model is then in `folder`/model."""
    world = world or World(device=best_device())
    run = recipe.run
    model = (
        continue_model(recipe.model, initial, encoded.vocab_size)
        if initial
        else make_model(recipe.model, encoded.vocab_size, run.seed)
    )
    result = fit(
        training_config(recipe),
        model,
        _loader(recipe, encoded, "train", model, world),
        _loader(recipe, encoded, "validation", model, world),
        folder,
        world=world,
        on_progress=on_progress,
        should_stop=should_stop,
    )
    measured = [line["validation_loss"] for line in read_metrics(folder) if "validation_loss" in line]
    trained = Trained(
        finished=result.finished,
        model=folder / MODEL,
        steps=result.step,
        unit="tokens",
        items=result.items,
        parameters=count_parameters(model.config).total,
        train_loss=result.train_loss,
        validation_loss=result.validation_loss,
        best_validation_loss=min(measured, default=None),
        seconds=result.seconds,
    )
    if result.finished and world.leads:
        write_model(trained.model, model, recipe, encoded, trained.results())
    world.wait()
    return trained


def training_config(recipe: Recipe) -> TrainingConfig:
    """The loop's part of a recipe."""
    run = asdict(recipe.run)
    del run["batch_size"]
    return TrainingConfig(
        OptimizerConfig(**asdict(recipe.optimizer)),
        ScheduleConfig(**asdict(recipe.schedule)),
        RunConfig(**run),
    )


def _loader(recipe: Recipe, encoded: EncodedDataset, split: str, model: TextModel, world: World) -> Loader:
    return Loader(
        encoded,
        split,
        model.config.context_length,
        recipe.run.batch_size,
        recipe.run.seed,
        world.rank,
        world.size,
        recipe.data.sampling,  # type: ignore[arg-type]  # the recipe's rules allow no other words
    )
