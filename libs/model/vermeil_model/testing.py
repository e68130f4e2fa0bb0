"""Small models whose weights are a formula, so that every machine and every test sees the same numbers."""

from __future__ import annotations

import dataclasses

import torch

from vermeil_model.config import ModelConfig
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
