"""Small models whose weights are a formula, so that every machine and every test sees the same numbers."""
# ruff: noqa: N815

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from vermeil_model.adapter import Adapter, AdapterConfig, Difference, difference_name, target_shapes
from vermeil_model.conditions import Conditions
from vermeil_model.config import ModelConfig
from vermeil_model.cross_entropy import IGNORED_TARGET
from vermeil_model.fuse import fuse, fused_config
from vermeil_model.fused_model import FusedModel
from vermeil_model.image_config import ImageConfig
from vermeil_model.image_model import ImageModel
from vermeil_model.spans import NO_SAMPLE
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


def small_adapter(seed: int = 1, base: ModelConfig = SMALL, **changes: object) -> Adapter:
    """An adapter over the small model that changes its answers; every seed another one."""
    config = AdapterConfig(**({"rank": 3, "alpha": 6.0} | changes))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    shapes = target_shapes(base)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.empty(shape).normal_(0.0, 0.5 * shape[-1] ** -0.5, generator=generator)

    differences = {
        difference_name(layer, target): Difference(
            drawn(config.rank, shapes[target][1]), drawn(shapes[target][0], config.rank)
        )
        for layer in range(base.depth)
        for target in config.targets
    }
    return Adapter(config, differences, f"models/small/versions/{seed}")


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


def small_fused(fusion: str = "alloy", **options: object) -> FusedModel:
    """The small models fused; gates, where there are any, lie between 0.2 and 1."""
    return fused_by_formula(small_model(), small_image_model(**BY_CLASS), fusion, **options)


def fused_by_formula(text: TextModel, image: ImageModel, fusion: str, **options: object) -> FusedModel:
    """Two models fused, with such gates."""
    model = fuse(text, image, fused_config(text, image, fusion, options))
    gates = [
        weight for name, weight in model.joint.named_parameters() if name.split(".")[-1].startswith("gate_")
    ]
    for gate in gates:
        wave = torch.sin(torch.arange(gate.numel()) * 0.7).reshape(gate.shape)
        torch.nn.init.zeros_(gate).data.add_(0.6 + 0.4 * wave)
    return model.eval()


class Rows(NamedTuple):
    """Mixed rows as a loader gives them."""

    tokens_BT: torch.Tensor
    targets_BT: torch.Tensor
    text_sample_BT: torch.Tensor
    text_order_BT: torch.Tensor
    text_position_BT: torch.Tensor
    text_task_BT: torch.Tensor
    picture_sample_BM: torch.Tensor
    picture_order_BM: torch.Tensor
    picture_position_BM: torch.Tensor
    picture_noisy_BM: torch.Tensor
    picture_task_BM: torch.Tensor


GIVEN, DRAWN = "given", "drawn"
Sample = Sequence[list[int] | str]
"""Lists of tokens, and pictures: GIVEN or DRAWN."""


def lay_out(rows: Sequence[Sequence[Sample]], num_tokens: int, num_pictures: int, stride: int = 3) -> Rows:
    """Samples packed row by row; every token is to be foretold, and the task is the sample's number.

    A drawn picture after which the sample goes on comes twice, noisy and given.
    """
    laid = [_lay_out_row(row, stride) for row in rows]
    text = torch.tensor([_padded([t for t, _ in row], num_tokens, (0, NO_SAMPLE, 0, 0)) for row in laid])
    held = [_padded([p for _, p in row], num_pictures, (0, NO_SAMPLE, 0, 0)) for row in laid]
    pictures = torch.tensor(held).reshape(len(rows), num_pictures, 4)
    tokens, sample, order, position = text.unbind(-1)
    following = torch.where(sample[:, 1:] == sample[:, :-1], tokens[:, 1:], IGNORED_TARGET)
    targets = torch.nn.functional.pad(following, (0, 1), value=IGNORED_TARGET)
    targets = torch.where(sample == NO_SAMPLE, IGNORED_TARGET, targets)
    noisy, held_sample, held_order, held_position = pictures.unbind(-1)
    return Rows(
        *(tokens, targets, sample, order, position, sample.clamp_min(0)),
        *(held_sample, held_order, held_position, noisy.bool(), held_sample.clamp_min(0)),
    )


Slot = tuple[int, int, int, int]


def _lay_out_row(samples: Sequence[Sample], stride: int) -> list[tuple[Slot | None, Slot | None]]:
    """A text slot (token, sample, order, position) or a picture slot (noisy, …) in each place."""
    slots: list[tuple[Slot | None, Slot | None]] = []
    order = itertools.count()
    for number, sample in enumerate(samples):
        position = 0
        for place, segment in enumerate(sample):
            if isinstance(segment, str):
                when = next(order)
                if segment == DRAWN:
                    slots.append((None, (1, number, when, position)))
                if segment == GIVEN or place + 1 < len(sample):
                    slots.append((None, (0, number, when, position)))
                position += stride
                continue
            for token in segment:
                slots.append(((token, number, next(order), position), None))
                position += 1
    return slots


def _padded(slots: Sequence[Slot | None], length: int, padding: Slot) -> list[Slot]:
    filled = [slot for slot in slots if slot is not None]
    assert len(filled) <= length
    return filled + [padding] * (length - len(filled))
