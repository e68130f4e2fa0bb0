"""Two trained backbones become one fused model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from vermeil_model.config import require
from vermeil_model.fused_config import FusedConfig, unconditional
from vermeil_model.fused_model import FusedModel
from vermeil_model.fusions import make_fused
from vermeil_model.image_model import ImageModel
from vermeil_model.int8 import require_floats
from vermeil_model.text_model import TextModel


def fused_config(
    text: TextModel,
    image: ImageModel,
    fusion: str = "cross_attention",
    options: Mapping[str, Any] | None = None,
    *,
    vocab_size: int | None = None,
    context_length: int | None = None,
) -> FusedConfig:
    """What `fuse` makes of two backbones; a larger vocabulary has room for markers they did not know."""
    grown = dataclasses.replace(
        text.config,
        vocab_size=vocab_size or text.config.vocab_size,
        context_length=context_length or text.config.context_length,
    )
    return FusedConfig(text=grown, image=image.config, fusion=fusion, options=options or {})


def fuse(text: TextModel, image: ImageModel, config: FusedConfig, *, seed: int = 0) -> FusedModel:
    """A model that starts with the backbones' weights, on the device and in the dtype of the text's.

    What neither of them has, such as projectors, is drawn from `seed`.
    """
    for name, backbone in (("text", text), ("image", image)):
        require_floats(backbone, name, type(backbone).__name__)
    _check_backbones(text, image, config)
    weight = text.embedding.weight
    model = make_fused(config)
    model.init_weights(torch.Generator().manual_seed(seed))
    model.adopt(text, image)
    return model.to(device=weight.device, dtype=weight.dtype)


def _check_backbones(text: TextModel, image: ImageModel, config: FusedConfig) -> None:
    require(
        config.text.vocab_size >= text.config.vocab_size,
        "text.vocab_size",
        config.text.vocab_size,
        f"is less than the backbone's ({text.config.vocab_size})",
        "Give at least as many, and room for new markers.",
    )
    text_config = dataclasses.replace(
        text.config, vocab_size=config.text.vocab_size, context_length=config.text.context_length
    )
    pairs = (
        ("text", config.text.to_dict(), text_config.to_dict()),
        ("image", config.image.to_dict(), unconditional(image.config).to_dict()),
    )
    for tower, ours, theirs in pairs:
        for name in ours:
            require(
                ours[name] == theirs[name],
                f"{tower}.{name}",
                ours[name],
                f"is not that of the backbone ({theirs[name]})",
                "Make the config with fused_config.",
            )
