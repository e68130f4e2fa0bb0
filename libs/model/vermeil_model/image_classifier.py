"""A small residual CNN that judges pictures: their class, and features to compare sets of pictures in.

It is no part of what generates; its accuracy belongs beside every number made with it. Unusual: group
norms instead of batch norms, so a picture's features never depend on its batch and averaged weights
need no second pass over the data; and the first convolution halves the size at once, a quarter of the work.

Letters: B batch, C channels, H height, W width, F features, N classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from vermeil_model.config import known_fields, require, require_positive_integer
from vermeil_model.patches import check_pictures

NORM_GROUP = 8
"""Channels normalised together."""
NUM_HALVINGS = 3
"""How often height and width are halved, the first time at once."""


@dataclass(frozen=True)
class ClassifierConfig:
    """Sizes of the judging CNN."""

    image_height: int
    """Pixels; at least 8."""
    image_width: int
    """Pixels; at least 8."""
    channels: int
    """1 grey, 3 RGB."""
    num_classes: int
    """Classes are 0 … num_classes − 1."""
    width: int = 32
    """Channels at half the size; they double twice. A multiple of 8."""
    num_blocks: int = 1
    """Residual blocks at each size."""

    def __post_init__(self) -> None:
        for name in ("image_height", "image_width", "channels", "num_classes", "width", "num_blocks"):
            require_positive_integer(name, getattr(self, name), "Use a whole number of at least 1.")
        for name in ("image_height", "image_width"):
            size = getattr(self, name)
            require(size >= 2**NUM_HALVINGS, name, size, "is too small to halve thrice", "Use 8 or more.")
        require(
            self.width % NORM_GROUP == 0,
            "width",
            self.width,
            f"is no multiple of {NORM_GROUP}",
            f"Use a multiple of {NORM_GROUP}.",
        )

    @property
    def num_features(self) -> int:
        """Width of the feature space."""
        return self.width << (NUM_HALVINGS - 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; `from_dict` gives the same config back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config that `to_dict` described; unknown and missing keys are refused by name."""
        return cls(**known_fields(cls, values, "classifier"))


class Convolution(nn.Module):
    """A square convolution without bias, its weight a matrix (out, in · size²): Muon moves matrices."""

    def __init__(self, num_in: int, num_out: int, size: int, *, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_out, num_in * size**2))
        self._shape = (num_out, num_in, size, size)
        self._stride = stride
        self._padding = (size - 1) // 2

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Height and width are divided by the stride."""
        return functional.conv2d(
            x_BCHW, self.weight.view(self._shape), stride=self._stride, padding=self._padding
        )


class ResidualBlock(nn.Module):
    """x + two 3×3 convolutions, each after a norm and a ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(width // NORM_GROUP, width)
        self.first = Convolution(width, width, 3)
        self.second_norm = nn.GroupNorm(width // NORM_GROUP, width)
        self.second = Convolution(width, width, 3)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Same shape out."""
        inner = self.first(functional.relu(self.first_norm(x_BCHW)))
        out: Tensor = x_BCHW + self.second(functional.relu(self.second_norm(inner)))
        return out


class ImageClassifier(nn.Module):
    """Pictures of −1 … 1 in, features or logits out; fresh ones carry the weights of seed 0."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        width = config.channels
        for stage in range(NUM_HALVINGS):
            wider = config.width * 2**stage
            layers.append(Convolution(width, wider, 4 if stage == 0 else 3, stride=2))
            layers += [ResidualBlock(wider) for _ in range(config.num_blocks)]
            width = wider
        self.stages = nn.ModuleList(layers)
        self.norm = nn.GroupNorm(width // NORM_GROUP, width)
        self.head = nn.Linear(width, config.num_classes)
        if not self.head.weight.is_meta:
            self.init_weights(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator` (on the CPU, float32)."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                deviation = 0.01 if name.startswith("head.") else math.sqrt(2 / parameter.shape[1])
                drawn = torch.empty(parameter.shape).normal_(0.0, deviation, generator=generator)
                parameter.copy_(drawn)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits (B, N), float32."""
        return self.logits(images_BCHW)

    def features(self, images_BCHW: Tensor) -> Tensor:
        """What the last layer sees of each picture, (B, F), float32."""
        check_pictures(images_BCHW, self.config, "a classifier")
        weight = self.head.weight
        x_BCHW = images_BCHW.to(weight.dtype).contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
        features: Tensor = functional.relu(self.norm(x_BCHW)).float().mean((2, 3))
        return features

    def logits(self, images_BCHW: Tensor) -> Tensor:
        """Unnormalised log-probabilities of the classes, (B, N), float32."""
        return self.logits_of(self.features(images_BCHW))

    def logits_of(self, features_BF: Tensor) -> Tensor:
        """Logits of features already at hand."""
        return functional.linear(features_BF, self.head.weight.float(), self.head.bias.float())


def classification_loss(
    model: nn.Module,
    images_BCHW: Tensor,
    classes_B: Tensor,
    generator: torch.Generator,
    *,
    most_shift: int = 2,
    smoothing: float = 0.1,
) -> Tensor:
    """Mean cross entropy, in nats, of pictures shifted by up to `most_shift` pixels; smoothed labels."""
    logits_BN = model(shifted(images_BCHW, generator, most=most_shift))
    return functional.cross_entropy(logits_BN, classes_B, label_smoothing=smoothing)


def shifted(images_BCHW: Tensor, generator: torch.Generator, *, most: int) -> Tensor:
    """Every picture moved by up to `most` pixels each way, its edge drawn out."""
    batch, _, height, width = images_BCHW.shape
    if most == 0:
        return images_BCHW
    device = generator.device
    offsets_2B = torch.randint(-most, most + 1, (2, batch), generator=generator, device=device)
    rows_BH = (torch.arange(height, device=device) + offsets_2B[0, :, None]).clamp(0, height - 1)
    columns_BW = (torch.arange(width, device=device) + offsets_2B[1, :, None]).clamp(0, width - 1)
    rows_B11 = torch.arange(batch, device=device)[:, None, None]
    return images_BCHW.movedim(1, -1)[rows_B11, rows_BH[:, :, None], columns_BW[:, None]].movedim(-1, 1)
