"""Small models whose weights are a formula, so that every machine and every test sees the same numbers."""

from __future__ import annotations

import dataclasses
import math

import torch

from vermeil_model.conditions import Conditions
from vermeil_model.config import ModelConfig
from vermeil_model.image_config import ImageConfig
from vermeil_model.image_model import ImageModel
from vermeil_model.text_model import TextModel

SMALL = ModelConfig(
    vocab_size=61,
    depth=2,
    width=24,
    num_heads=4,
    num_key_value_heads=2,
    head_width=8,
    feed_forward_width=40,
    context_length=48,
)

SMALL_IMAGE = ImageConfig(
    image_height=12,
    image_width=8,
    channels=3,
    patch_size=4,
    depth=2,
    width=24,
    num_heads=4,
    num_key_value_heads=2,
    head_width=8,
    feed_forward_width=40,
)
BY_CLASS: dict[str, object] = {"condition": "class", "num_classes": 5, "context_length": 3}
BY_TEXT: dict[str, object] = {"condition": "text", "vocab_size": 61, "context_length": 7}
"""Fields that make the small image model one of classes or of captions."""


def set_weights_by_formula(model: torch.nn.Module) -> None:
    """Every matrix gets scaled sines of its running index; norms vary around one."""
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            wave = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) * 0.7 + number)
            if parameter.ndim == 1:
                parameter.copy_((1 + 0.1 * wave).reshape(parameter.shape))
            else:
                parameter.copy_((wave * 1.5 * parameter.shape[1] ** -0.5).reshape(parameter.shape))


def small_model(**changes: object) -> TextModel:
    """The small model with some fields of its config replaced."""
    model = TextModel(dataclasses.replace(SMALL, **changes))  # type: ignore[arg-type]
    set_weights_by_formula(model)
    return model.eval()


def small_tokens(num_rows: int, num_tokens: int, start: int = 0) -> torch.Tensor:
    """Token ids by formula, (rows, tokens)."""
    index = torch.arange(start, start + num_rows * num_tokens)
    return ((index * 37 + index // 7) % SMALL.vocab_size).reshape(num_rows, num_tokens)


def small_image_model(**changes: object) -> ImageModel:
    """The small image model with some fields of its config replaced."""
    model = ImageModel(dataclasses.replace(SMALL_IMAGE, **changes))  # type: ignore[arg-type]
    set_weights_by_formula(model)
    return model.eval()


def small_images(num_images: int, config: ImageConfig = SMALL_IMAGE) -> torch.Tensor:
    """Pictures by formula, (B, C, H, W), −1 … 1."""
    shape = (num_images, config.channels, config.image_height, config.image_width)
    return torch.sin(torch.arange(math.prod(shape)) * 0.37).reshape(shape)


def small_conditions(num_pictures: int, config: ImageConfig) -> Conditions | None:
    """Classes or captions by formula; the captions have all lengths from 1 up."""
    if config.condition == "class":
        return Conditions.of_classes([(3 * i + 1) % config.num_classes for i in range(num_pictures)])
    if config.condition == "text":
        lengths = [1 + i % config.context_length for i in range(num_pictures)]
        return Conditions.of_captions([[(7 * i + j) % 61 for j in range(n)] for i, n in enumerate(lengths)])
    return None
