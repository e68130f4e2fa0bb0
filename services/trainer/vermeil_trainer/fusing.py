"""Two trained models and a mixture, as a recipe of task fusion names them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from vermeil_data import Mixture, MixtureTask, OpenMixture
from vermeil_data.mixture import Style
from vermeil_errors import InvalidInput
from vermeil_model import (
    FusedModel,
    ImageConfig,
    ImageModel,
    TextModel,
    fuse,
    fused_config,
    load_checkpoint,
    make_fused,
    require_floats,
)
from vermeil_model.opening import Opening

from vermeil_trainer.fusion_rules import RANK, ramp_steps
from vermeil_trainer.recipe import Recipe
from vermeil_trainer.same_tokens import check_tokenizer

TEXT, IMAGE = "text", "image"
"""The backbones."""


def mixture_of(recipe: Recipe) -> Mixture:
    """What is learned, of which data."""
    spec = recipe.mixture
    tasks = [
        MixtureTask(task.kind, task.source, task.weight, task.style or None, task.window)  # type: ignore[arg-type]  # the rules allow no others
        for task in spec.tasks
    ]
    sources = {source.name: source.name for source in spec.sources}
    return Mixture(sources, tuple(tasks), spec.temperature, spec.samples_per_conversation)


def styles_of(mixture: OpenMixture) -> dict[str, Style]:
    """How samples of each kind of task are spelled."""
    tasks = mixture.mixture.tasks
    return {task.kind: task.style for task in tasks if task.style is not None}


def make_fused_model(recipe: Recipe, mixture: OpenMixture, backbones: Mapping[str, Path]) -> FusedModel:
    """The backbones' weights in one network."""
    text = load_checkpoint(backbones[TEXT], TextModel, dtype=torch.float32)
    image = load_checkpoint(backbones[IMAGE], ImageModel, dtype=torch.float32)
    for name, model in ((TEXT, text), (IMAGE, image)):
        require_floats(model, f"fusion.{name}", getattr(recipe.fusion, name))
    check_tokenizer(mixture.tokenizer, backbones[TEXT], "fusion.text", "mixture.sources")
    _check_pictures(image.config, mixture, "fusion.image")
    options: dict[str, Any] = {}
    if recipe.fusion.kind == "low_rank":
        rank = recipe.fusion.rank or RANK
        options = {"attention": rank, "feed_forward": rank}
    config = fused_config(
        text,
        image,
        recipe.fusion.kind,
        options,
        vocab_size=max(text.config.vocab_size, mixture.vocab_size),
        context_length=max(text.config.context_length, _longest(recipe, image.config)),
    )
    return fuse(text, image, config, seed=recipe.run.seed)


def continue_fused_model(recipe: Recipe, mixture: OpenMixture, folder: Path) -> FusedModel:
    """The fused model in `folder`, with a longer context where the mixture's rows need one."""
    model = load_checkpoint(folder, FusedModel, dtype=torch.float32)
    require_floats(model, "model.initial", recipe.model.initial)
    config = model.config
    if config.fusion != recipe.fusion.kind:
        problem = f"is not how model.initial is joined ({config.fusion})"
        raise InvalidInput.for_field(
            "fusion.kind", recipe.fusion.kind, problem, f"write fusion.kind: {config.fusion}"
        )
    check_tokenizer(mixture.tokenizer, folder, "model.initial", "mixture.sources")
    _check_pictures(config.image, mixture, "model.initial")
    if mixture.vocab_size > config.text.vocab_size:
        problem = f"tokens of the sources do not fit the {config.text.vocab_size} of model.initial"
        fix = "encode them with its tokenizer"
        raise InvalidInput.for_field("mixture.sources", mixture.vocab_size, problem, fix)
    longest = _longest(recipe, config.image)
    if longest <= config.text.context_length:
        return model
    longer = make_fused(replace(config, text=replace(config.text, context_length=longest)))
    longer.load_state_dict(model.state_dict())
    return longer


def rates_of(recipe: Recipe) -> dict[str, float]:
    """Learning rates of the parts over the recipe's, where they differ from it."""
    fusion = recipe.fusion
    rates = {"text.": fusion.text_rate, "image.": fusion.image_rate, "joint.": fusion.joint_rate}
    return {prefix: rate for prefix, rate in rates.items() if rate != 1}


def open_gates(recipe: Recipe, model: FusedModel, step: int) -> None:
    """Open what joins the towers, if it can be shut, as far as the ramp has come after so many steps."""
    if isinstance(model.joint, Opening):
        ramp = ramp_steps(recipe)
        model.joint.set_openness(min(1.0, step / ramp) if ramp else 1.0)


def _longest(recipe: Recipe, image: ImageConfig) -> int:
    """Rotary positions that a row of one sample takes at most."""
    spec = recipe.mixture
    return spec.text_slots + spec.picture_slots * max(image.num_rows, image.num_columns)


def _check_pictures(image: ImageConfig, mixture: OpenMixture, field: str) -> None:
    about = mixture.images
    wanted = (image.image_height, image.image_width, image.channels)
    found = (about.height, about.width, about.channels)
    if wanted != found:
        raise InvalidInput.for_field(
            "mixture.sources",
            " × ".join(map(str, found)),
            f"are pictures of another size than {field} draws ({' × '.join(map(str, wanted))})",
            "encode them anew in its size",
        )
