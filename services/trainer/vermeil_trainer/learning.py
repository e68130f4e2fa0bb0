"""What a run of each task is made of: a row of this table is all that tells one task from another.

A task's loaders yield batches that its objective understands; the loop between them is the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from vermeil_data import (
    EncodedDataset,
    EncodedImages,
    ImageLoader,
    Loader,
    MixedLoader,
    OpenMixture,
    open_encoded,
    open_encoded_images,
    open_encoded_samples,
)
from vermeil_model import FusedModel, ImageModel, TextModel
from vermeil_training import (
    Batches,
    Objective,
    ReadAndDraw,
    World,
    classify,
    contrastive,
    image_flow_loss,
    next_token_loss,
)

from vermeil_trainer.fusing import mixture_of, open_gates
from vermeil_trainer.grid import draw_grid
from vermeil_trainer.measures import accuracy, recall
from vermeil_trainer.mixed_grid import draw_mixed_grid
from vermeil_trainer.recipe import Recipe

TRAIN, VALIDATION = "train", "validation"
THE_ONE = ""
"""Name of the data of tasks that learn from one dataset alone."""
Condition = Literal["none", "class", "caption"]
_CONDITIONS: dict[str, Condition] = {"none": "none", "class": "class", "text": "caption"}
"""A model's condition → the loader's."""


@dataclass(frozen=True)
class Learning:
    """One task."""

    open: Callable[[Recipe, Mapping[str, Path]], Any]
    """Encoded data from their folders, by the names of `sources`."""
    loader: Callable[[Recipe, Any, Any, str, World], Batches[Any]]
    """Batches of a split, by recipe, data, model, split and world."""
    objective: Callable[[Recipe, Any], Objective[Any]]
    """What is made small, by recipe and data."""
    unit: str
    """What batches count."""
    draw: Callable[[Recipe, Any, Any, Path], object] | None = None
    """A picture of what the model can do, by recipe, data, model and file; drawn at each validation."""
    before_step: Callable[[Recipe, Any, int], object] = lambda _recipe, _model, _step: None
    """What is done to a model before each step, by recipe, model and steps done."""
    measure: Callable[[Any, Any], dict[str, float]] | None = None
    """Figures beside the loss, by data and model; taken once, at the end."""


def _token_loader(
    recipe: Recipe, encoded: EncodedDataset, model: TextModel, split: str, world: World
) -> Loader:
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


def _image_loader(
    condition: Condition, recipe: Recipe, encoded: EncodedImages, model: Any, split: str, world: World
) -> ImageLoader:
    return ImageLoader(
        encoded,
        split,
        recipe.run.batch_size,
        recipe.run.seed,
        world.rank,
        world.size,
        condition,
        max_caption_tokens=getattr(model.config, "context_length", 0) or 1,
        flip=recipe.image.flip and split == TRAIN,
    )


def _conditioned_loader(
    recipe: Recipe, encoded: EncodedImages, model: ImageModel, split: str, world: World
) -> ImageLoader:
    return _image_loader(_CONDITIONS[model.config.condition], recipe, encoded, model, split, world)


def _mixed_loader(
    recipe: Recipe, mixture: OpenMixture, model: FusedModel, split: str, world: World
) -> MixedLoader:
    return MixedLoader(
        mixture,
        split,
        rows=recipe.run.batch_size,
        text_slots=recipe.mixture.text_slots,
        picture_slots=recipe.mixture.picture_slots,
        patch_size=model.config.image.patch_size,
        seed=recipe.run.seed,
        rank=world.rank,
        world_size=world.size,
    )


def _one(open_one: Callable[[Path], Any]) -> Callable[[Recipe, Mapping[str, Path]], Any]:
    return lambda _, folders: open_one(folders[THE_ONE])


def _mixture(recipe: Recipe, folders: Mapping[str, Path]) -> OpenMixture:
    opened = {name: open_encoded_samples(folder) for name, folder in folders.items()}
    return OpenMixture(mixture_of(recipe), opened)


def _always(objective: Objective[Any]) -> Callable[[Recipe, Any], Objective[Any]]:
    return lambda _recipe, _data: objective


def _mixed_objective(recipe: Recipe, mixture: OpenMixture) -> Objective[Any]:
    return ReadAndDraw([task.name for task in mixture.mixture.tasks], recipe.fusion.flow_weight)


_open_images = _one(open_encoded_images)
LEARNING = {
    "text": Learning(_one(open_encoded), _token_loader, _always(next_token_loss), "tokens"),
    "image": Learning(_open_images, _conditioned_loader, _always(image_flow_loss), "images", draw=draw_grid),
    "dual": Learning(
        _open_images, partial(_image_loader, "caption"), _always(contrastive), "images", measure=recall
    ),
    "classifier": Learning(
        _open_images, partial(_image_loader, "class"), _always(classify), "images", measure=accuracy
    ),
    "fusion": Learning(
        _mixture, _mixed_loader, _mixed_objective, "rows", draw=draw_mixed_grid, before_step=open_gates
    ),
}
