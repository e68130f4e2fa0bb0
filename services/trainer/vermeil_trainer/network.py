"""The network a recipe asks for: drawn by its seed, or continued from a model that is there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from vermeil_data import EncodedDataset, EncodedImages
from vermeil_errors import InvalidInput, Violation
from vermeil_model import (
    AdaptedModel,
    AdapterConfig,
    ClassifierConfig,
    DualConfig,
    DualEncoder,
    ImageClassifier,
    ImageConfig,
    ImageModel,
    ModelConfig,
    TextModel,
    load_checkpoint,
    require_floats,
)
from vermeil_model.adapter import ALL_TARGETS, TARGETS
from vermeil_model.image_config import TOKENS_PER_CAPTION

from vermeil_trainer.model_folder import AnyModel, Data, class_names_in
from vermeil_trainer.recipe import ImageSpec, ModelSpec, Recipe
from vermeil_trainer.rules import violation
from vermeil_trainer.same_tokens import check_tokenizer
from vermeil_trainer.sizes import SIZES, sizes_of
from vermeil_trainer.task_rules import CLASSIFIER_BLOCKS, CLASSIFIER_WIDTH

_CHOSEN = ("feed_forward_width", "rope_theta", "qk_norm")
"""Fields of ModelSpec that no dial derives."""


def make_model(recipe: Recipe, data: Data) -> AnyModel:
    """A network with random weights, the same for the same recipe and data."""
    network = NETWORKS[recipe.task]
    model: AnyModel = network.model(network.config(recipe, data))
    model.init_weights(torch.Generator().manual_seed(recipe.run.seed))
    return model


def continue_model(recipe: Recipe, folder: Path, data: Data) -> AnyModel:
    """A network with the weights in `folder`, whose sizes win; a recipe that wants others is refused.

    For a recipe of an adapter, they stay as they are.
    """
    model: AnyModel = load_checkpoint(folder, NETWORKS[recipe.task].model, dtype=torch.float32)
    require_floats(model, "model.initial", recipe.model.initial)
    violations = _disagreements("model", recipe.model, model.config)
    if recipe.task != "text":
        violations += _disagreements("image", recipe.image, model.config)
    if violations:
        raise InvalidInput(
            "; ".join(f"{each.field} = {each.description}" for each in violations), violations=violations
        )
    _check_data(folder, model.config, data)
    return model if recipe.adapter.rank is None else _adapted(model, recipe)


def _adapted(base: AnyModel, recipe: Recipe) -> AdaptedModel:
    spec = recipe.adapter
    assert isinstance(base, TextModel)
    assert spec.rank is not None
    config = AdapterConfig(
        spec.rank,
        2.0 * spec.rank if spec.alpha is None else spec.alpha,
        TARGETS.get(spec.targets, ALL_TARGETS),
    )
    full = config.full_rank(base.config)
    if spec.rank >= full:
        problem = f"is not below {full}, the smallest size of a matrix in model.initial"
        raise InvalidInput.for_field("adapter.rank", spec.rank, problem, "use a smaller rank; 8 is usual")
    model = AdaptedModel(base, config)
    model.init_weights(torch.Generator().manual_seed(recipe.run.seed))
    return model


def model_config(spec: ModelSpec, vocab_size: int) -> ModelConfig:
    """All sizes of a language model."""
    sizes = sizes_of(spec)
    config = ModelConfig.from_depth(
        sizes.depth,
        vocab_size,
        context_length=sizes.context_length,
        width=sizes.width,
        num_heads=sizes.num_heads,
        head_width=spec.head_width,
        num_key_value_heads=spec.num_key_value_heads,
        tie_embeddings=spec.tie_embeddings,
    )
    return replace(config, **_chosen(spec))


def image_config(spec: ModelSpec, image: ImageSpec, num_classes: int, vocab_size: int) -> ImageConfig:
    """All sizes of an image model; what its condition has no use for is left out."""
    sizes = sizes_of(spec)
    config = ImageConfig.from_depth(
        sizes.depth,
        image_height=image.image_height,
        image_width=image.image_width,
        channels=image.channels,
        patch_size=image.patch_size,
        condition=image.condition,  # type: ignore[arg-type]  # the recipe's rules allow no other words
        num_classes=num_classes if image.condition == "class" else 0,
        vocab_size=vocab_size if image.condition == "text" else 0,
        context_length=image.context_length,
        pool_condition=image.pool_condition is not False,
        adaln=image.adaln,
        width=sizes.width,
        num_heads=sizes.num_heads,
        head_width=spec.head_width,
        num_key_value_heads=spec.num_key_value_heads,
    )
    return replace(config, **_chosen(spec))


def _text_config_of(recipe: Recipe, data: EncodedDataset) -> ModelConfig:
    return model_config(recipe.model, data.vocab_size)


def _image_config_of(recipe: Recipe, data: EncodedImages) -> ImageConfig:
    _check_pictures(recipe.image, data)
    vocab_size = data.tokenizer.vocab_size if data.tokenizer else 0
    return image_config(recipe.model, recipe.image, len(data.class_names), vocab_size)


def _dual_config_of(recipe: Recipe, data: EncodedImages) -> DualConfig:
    _check_pictures(recipe.image, data)
    assert data.tokenizer is not None  # captions were encoded for this
    sizes, image = sizes_of(recipe.model), recipe.image
    return DualConfig.from_depth(
        sizes.depth,
        image_height=image.image_height,
        image_width=image.image_width,
        channels=image.channels,
        patch_size=image.patch_size,
        vocab_size=data.tokenizer.vocab_size,
        context_length=image.context_length or TOKENS_PER_CAPTION,
        embedding_width=image.embedding_width,
        width=sizes.width,
        num_heads=sizes.num_heads,
    )


def _classifier_config_of(recipe: Recipe, data: EncodedImages) -> ClassifierConfig:
    _check_pictures(recipe.image, data)
    model, image = recipe.model, recipe.image
    return ClassifierConfig(
        image.image_height,
        image.image_width,
        image.channels,
        len(data.class_names),
        width=model.width or CLASSIFIER_WIDTH,
        num_blocks=model.depth or CLASSIFIER_BLOCKS,
    )


@dataclass(frozen=True)
class _Network:
    """What a task trains."""

    model: Any
    """Its class."""
    config: Callable[[Recipe, Any], Any]
    """Its sizes, by a recipe and its data."""


NETWORKS = {
    "text": _Network(TextModel, _text_config_of),
    "image": _Network(ImageModel, _image_config_of),
    "dual": _Network(DualEncoder, _dual_config_of),
    "classifier": _Network(ImageClassifier, _classifier_config_of),
}


def _chosen(spec: ModelSpec) -> Mapping[str, Any]:
    return {name: getattr(spec, name) for name in _CHOSEN if getattr(spec, name) is not None}


def _check_pictures(image: ImageSpec, data: EncodedImages) -> None:
    """By hand, a folder of other pictures than the recipe's may have been named."""
    about = data.images
    for name, found in (
        ("image_height", about.height),
        ("image_width", about.width),
        ("channels", about.channels),
    ):
        wanted = getattr(image, name)
        if wanted != found:
            raise InvalidInput.for_field(
                f"image.{name}", wanted, f"does not fit the encoded pictures ({found})", "encode them anew"
            )


def _disagreements(section: str, spec: ModelSpec | ImageSpec, config: Any) -> list[Violation]:
    """Fields that a recipe sets and a config has otherwise."""
    violations = []
    for field in fields(spec):
        name, value = field.name, getattr(spec, field.name)
        if hasattr(config, name) and value not in (None, "") and value != getattr(config, name):
            problem = f"model.initial has {getattr(config, name)}"
            violations.append(violation(f"{section}.{name}", value, problem, "leave it out"))
    if isinstance(spec, ModelSpec) and spec.size and spec.depth is None:
        depth = SIZES[spec.size][0]
        if depth != config.depth:
            problem = f"model.initial has {config.depth} layers"
            violations.append(violation("model.size", spec.size, problem, "leave it out"))
    return violations


def _check_data(folder: Path, config: Any, data: Data) -> None:
    """A model that is continued must know the data's tokens and classes by the same numbers."""
    tokenizer = data.tokenizer
    known = getattr(config, "vocab_size", 0)
    if known and (tokenizer is None or tokenizer.vocab_size != known):
        raise InvalidInput.for_field(
            "data.dataset",
            tokenizer.vocab_size if tokenizer else 0,
            f"tokens of the dataset do not fit the {known} of model.initial",
            "encode it with that model's tokenizer",
        )
    if known and tokenizer is not None:
        check_tokenizer(tokenizer, folder, "model.initial", "data.dataset")
    if getattr(config, "num_classes", 0) and isinstance(data, EncodedImages):
        names = class_names_in(folder)
        if names != data.class_names:
            raise InvalidInput.for_field(
                "data.dataset",
                ", ".join(data.class_names),
                f"are not the classes of model.initial ({', '.join(names)})",
                "train on pictures of the same classes",
            )
