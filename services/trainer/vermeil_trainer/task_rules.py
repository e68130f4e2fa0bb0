"""What a recipe must hold for its task, and what means nothing there; without loading the network.

The rules on sizes are those of vermeil_model's ImageConfig and ClassifierConfig, and a test holds the
two together.
"""

from dataclasses import fields
from typing import Any

from vermeil_errors import Violation

from vermeil_trainer.fusion_rules import fusion_violations
from vermeil_trainer.recipe import FusionSpec, ImageSpec, MixtureSpec, ModelSpec, Recipe
from vermeil_trainer.rules import violation
from vermeil_trainer.sizes import size_violations

CLASSIFIER_WIDTH, CLASSIFIER_BLOCKS = 32, 1
"""What a classifier has where its recipe leaves them open."""
_NORM_GROUP, _SMALLEST_JUDGED = 8, 8
_SAMPLED = {"condition", "pool_condition", "adaln", "sampling_steps", "guidance"}
"""Fields of ImageSpec that only pictures from noise have a use for."""
_OF_IMAGES = {field.name for field in fields(ImageSpec)}
_OF_MODELS = {field.name for field in fields(ModelSpec)}
_OF_FUSION = {field.name for field in fields(FusionSpec)}
_OF_MIXTURES = {field.name for field in fields(MixtureSpec)}
_WITHOUT_MEANING = {
    "text": {"image": _OF_IMAGES, "model": set()},
    "image": {"image": {"embedding_width"}, "model": {"context_length", "tie_embeddings"}},
    "dual": {
        "image": _SAMPLED,
        "model": {
            *("context_length", "tie_embeddings", "num_key_value_heads", "head_width"),
            *("feed_forward_width", "rope_theta", "qk_norm"),
        },
    },
    "classifier": {
        "image": {*_SAMPLED, "embedding_width", "patch_size", "context_length"},
        "model": _OF_MODELS - {"depth", "width", "initial"},
    },
    "fusion": {
        "image": _OF_IMAGES - {"fit", "flip", "sampling_steps", "guidance"},
        "model": _OF_MODELS - {"initial"},
        "data": {"dataset"},
    },
    "int8": {"image": _OF_IMAGES, "model": _OF_MODELS - {"initial"}, "data": {"dataset"}},
}
"""By task and section: the fields that are not for it."""


def meaningless_sections(recipe: Recipe) -> tuple[str, ...]:
    """Groups of fields that say nothing for a recipe."""
    if recipe.task == "fusion":
        return ("data", "adapter") if recipe.model.initial else ("model", "data", "adapter")
    if recipe.task == "int8":
        return "data", "optimizer", "schedule", "image", "fusion", "mixture", "adapter"
    alone = ("fusion", "mixture") if recipe.adapter.rank else ("fusion", "mixture", "adapter")
    return ("image", *alone) if recipe.task == "text" else alone


def task_violations(recipe: Recipe) -> list[Violation]:
    """Fields that are right alone and wrong for the task."""
    violations = [
        each
        for section, names in _WITHOUT_MEANING[recipe.task].items()
        for each in _without_meaning(recipe, section, _given(getattr(recipe, section)) & names)
    ]
    violations += _adapter_violations(recipe)
    if recipe.task == "fusion":
        return violations + fusion_violations(recipe)
    for section, names in (("fusion", _OF_FUSION), ("mixture", _OF_MIXTURES)):
        violations += _without_meaning(recipe, section, _given(getattr(recipe, section)) & names)
    if recipe.task != "text" and recipe.data.sampling != "packed":
        violations += _without_meaning(recipe, "data", {"sampling"})
    if recipe.task == "int8":
        return violations + _int8_violations(recipe)
    if recipe.task == "classifier":
        return violations + _classifier_violations(recipe)
    if recipe.task != "text":
        violations += _patch_violations(recipe.image) + _condition_violations(recipe)
    return violations + size_violations(recipe.model)


def uses_captions(recipe: Recipe) -> bool:
    """Whether a run on pictures reads their captions."""
    return recipe.task == "dual" or (recipe.task == "image" and recipe.image.condition == "text")


def _adapter_violations(recipe: Recipe) -> list[Violation]:
    spec = recipe.adapter
    if recipe.task != "text":
        return _without_meaning(recipe, "adapter", _given(spec), "but for task text: only it takes adapters")
    if spec.rank is None:
        return _without_meaning(recipe, "adapter", _given(spec), "without adapter.rank")
    if not recipe.model.initial:
        fix = "name the model that it is learned over in model.initial"
        return [violation("adapter.rank", spec.rank, "has no base", fix)]
    return []


def _int8_violations(recipe: Recipe) -> list[Violation]:
    if recipe.model.initial:
        return []
    return [violation("model.initial", "", "is required", "name the model to write in int8")]


def _patch_violations(image: ImageSpec) -> list[Violation]:
    problem = f"is no multiple of image.patch_size ({image.patch_size})"
    return [
        violation(f"image.{name}", value, problem, "resize the pictures or change the patch size")
        for name, value in (("image_height", image.image_height), ("image_width", image.image_width))
        if value % image.patch_size
    ]


def _condition_violations(recipe: Recipe) -> list[Violation]:
    image = recipe.image
    if recipe.task == "image" and image.condition == "none":
        return _without_meaning(
            recipe, "image", _given(image) & {"context_length", "pool_condition"}, "without a condition"
        )
    return []


def _classifier_violations(recipe: Recipe) -> list[Violation]:
    model, image = recipe.model, recipe.image
    violations = []
    if model.width is not None and model.width % _NORM_GROUP:
        fix = f"use a multiple of {_NORM_GROUP}"
        violations.append(violation("model.width", model.width, f"is no multiple of {_NORM_GROUP}", fix))
    for name in ("image_height", "image_width"):
        size = getattr(image, name)
        if size < _SMALLEST_JUDGED:
            fix = f"use {_SMALLEST_JUDGED} pixels or more"
            violations.append(violation(f"image.{name}", size, "is too small for a classifier", fix))
    return violations


def _given(section: Any) -> set[str]:
    """Names of the fields that are not at their defaults."""
    return {field.name for field in fields(section) if getattr(section, field.name) != field.default}


def _without_meaning(recipe: Recipe, section: str, names: set[str], where: str = "") -> list[Violation]:
    where = where or f"for task {recipe.task}"
    values = getattr(recipe, section)
    return [
        violation(f"{section}.{name}", getattr(values, name), f"has no meaning {where}", "leave it out")
        for name in sorted(names)
    ]
