"""What a fused model is made of: two towers, the way they are joined, and that way's own options.

Every fusion checks its own options and demands on the towers (`fusions/`); this record knows only what
holds for all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from vermeil_errors import InvalidInput

from vermeil_model.config import ModelConfig, known_fields, require
from vermeil_model.image_config import ImageConfig


@dataclass(frozen=True)
class FusedConfig:
    """Two towers and how they are joined."""

    text: ModelConfig
    """Of the text tower; its context counts rotary positions, of which a picture takes a few."""
    image: ImageConfig
    """Of the image tower; its own condition is left out, for pictures are asked for by text."""
    fusion: str = "cross_attention"
    """One of FUSIONS."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of that fusion, by name; what is left out has its default."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", unconditional(self.image))
        object.__setattr__(self, "options", dict(self.options))

    @property
    def picture_stride(self) -> int:
        """Rotary positions that a picture takes: what follows goes on so much later."""
        return max(self.image.num_rows, self.image.num_columns)

    def check_equal(self, *names: str) -> None:
        """Refuse towers that differ in one of these fields."""
        for name in names:
            ours, theirs = getattr(self.text, name), getattr(self.image, name)
            require(
                ours == theirs,
                f"image.{name}",
                theirs,
                f"differs from the text tower's ({ours}), which {self.fusion} cannot join",
                f"Train one of the backbones with the {name} of the other.",
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; `from_dict` gives the same config back."""
        return {
            "text": self.text.to_dict(),
            "image": self.image.to_dict(),
            "fusion": self.fusion,
            "options": dict(self.options),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config that `to_dict` described; unknown and missing keys are refused by name."""
        given = dict(known_fields(cls, values, "fused"))
        options = given.get("options", {})
        if not isinstance(options, Mapping):
            raise InvalidInput.for_field("options", options, "are not a table", "Give them by name.")
        towers = {
            "text": ModelConfig.from_dict(given["text"]),
            "image": ImageConfig.from_dict(given["image"]),
        }
        return cls(**given | towers)


def unconditional(config: ImageConfig) -> ImageConfig:
    """The same tower without a condition of its own."""
    return dataclasses.replace(
        config, condition="none", num_classes=0, vocab_size=0, context_length=0, pool_condition=True
    )
