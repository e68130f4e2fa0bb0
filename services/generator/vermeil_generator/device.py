"""Where models run and in which precision, and what their weights take."""

import torch
from torch import nn
from vermeil_model.bfloat16 import multiplies_bfloat16

from vermeil_generator.settings import GeneratorSettings

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def best_device(settings: GeneratorSettings) -> str:
    """The device that was set, or a GPU if there is one."""
    if settings.generator_device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return settings.generator_device


def precision(settings: GeneratorSettings) -> torch.dtype | None:
    """Of weights in memory; None keeps what the checkpoint has, unless the device only emulates bfloat16."""
    if settings.generator_precision == "auto":
        return None if multiplies_bfloat16(best_device(settings)) else torch.float32
    return _PRECISIONS[settings.generator_precision]


def weight_bytes(model: nn.Module) -> int:
    """Size of all weights."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
