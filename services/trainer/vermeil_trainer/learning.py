"""What a run of each task is made of: a row of this table is all that tells one task from another.

A task's loaders yield batches that its objective understands; the loop between them is the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from vermeil_data import (
    EncodedDataset,
    EncodedImages,
    ImageLoader,
    Loader,
    open_encoded,
    open_encoded_images,
)
from vermeil_model import ImageModel, TextModel
from vermeil_training import (
    Batches,
    Objective,
    World,
    classify,
    contrastive,
    image_flow_loss,
    next_token_loss,
)

from vermeil_trainer.grid import draw_grid
from vermeil_trainer.measures import accuracy, recall
from vermeil_trainer.recipe import Recipe

TRAIN, VALIDATION = "train", "validation"
Condition = Literal["none", "class", "caption"]
_CONDITIONS: dict[str, Condition] = {"none": "none", "class": "class", "text": "caption"}
"""A model's condition → the loader's."""


@dataclass(frozen=True)
class Learning:
    """One task."""

    open: Callable[[Path], Any]
    """Encoded data from their folder."""
    loader: Callable[[Recipe, Any, Any, str, World], Batches[Any]]
    """Batches of a split, by recipe, data, model, split and world."""
    objective: Objective[Any]
    """What is made small."""
    unit: str
    """What batches count."""
    draw: Callable[[Recipe, Any, Any, Path], object] | None = None
    """A picture of what the model can do, by recipe, data, model and file; drawn at each validation."""
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


LEARNING = {
    "text": Learning(open_encoded, _token_loader, next_token_loss, "tokens"),
    "image": Learning(open_encoded_images, _conditioned_loader, image_flow_loss, "images", draw=draw_grid),
    "dual": Learning(
        open_encoded_images, partial(_image_loader, "caption"), contrastive, "images", measure=recall
    ),
    "classifier": Learning(
        open_encoded_images, partial(_image_loader, "class"), classify, "images", measure=accuracy
    ),
}
