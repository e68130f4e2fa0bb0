"""The network a recipe asks for: drawn by its seed, or continued from a model that is there."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from vermeil_errors import InvalidInput
from vermeil_model import ModelConfig, TextModel, load_checkpoint

from vermeil_trainer.recipe import ModelSpec
from vermeil_trainer.rules import violation
from vermeil_trainer.sizes import SIZES, sizes_of

_SIZES_OF_BOTH = (
    *("depth", "width", "num_heads", "num_key_value_heads", "feed_forward_width", "context_length"),
    *("rope_theta", "qk_norm", "tie_embeddings"),
)
"""Fields that ModelSpec and ModelConfig both have."""


def make_model(spec: ModelSpec, vocab_size: int, seed: int) -> TextModel:
    """A network with random weights, the same for the same sizes and seed."""
    model = TextModel(model_config(spec, vocab_size))
    model.init_weights(torch.Generator().manual_seed(seed))
    return model


def continue_model(spec: ModelSpec, folder: Path, vocab_size: int) -> TextModel:
    """A network with the weights in `folder`, whose sizes win; a recipe that wants others is refused."""
    model = load_checkpoint(folder, dtype=torch.float32)
    _check_agreement(spec, model.config)
    if model.config.vocab_size != vocab_size:
        raise InvalidInput.for_field(
            "data.dataset",
            vocab_size,
            f"tokens of the dataset do not fit the {model.config.vocab_size} of model.initial",
            "encode it with that model's tokenizer",
        )
    return model


def model_config(spec: ModelSpec, vocab_size: int) -> ModelConfig:
    """All sizes of a recipe's network."""
    sizes = sizes_of(spec)
    config = ModelConfig.from_depth(
        sizes.depth,
        vocab_size,
        context_length=sizes.context_length,
        width=sizes.width,
        num_heads=sizes.num_heads,
        num_key_value_heads=spec.num_key_value_heads,
        tie_embeddings=spec.tie_embeddings,
    )
    chosen: Mapping[str, Any] = {
        name: getattr(spec, name)
        for name in ("feed_forward_width", "rope_theta", "qk_norm")
        if getattr(spec, name) is not None
    }
    return replace(config, **chosen)


def _check_agreement(spec: ModelSpec, config: ModelConfig) -> None:
    wanted = {name: getattr(spec, name) for name in _SIZES_OF_BOTH}
    violations = [
        violation(f"model.{name}", value, f"model.initial has {getattr(config, name)}", "leave it out")
        for name, value in wanted.items()
        if value is not None and value != getattr(config, name)
    ]
    if spec.size and spec.depth is None and SIZES[spec.size][0] != config.depth:
        problem = f"model.initial has {config.depth} layers"
        violations.append(violation("model.size", spec.size, problem, "leave it out"))
    if violations:
        raise InvalidInput(
            "; ".join(f"{each.field} = {each.description}" for each in violations), violations=violations
        )
