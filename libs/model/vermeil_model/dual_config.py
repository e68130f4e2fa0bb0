"""The sizes of a dual encoder: one frozen record, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from vermeil_model.config import ModelConfig, known_fields, require_positive_integer
from vermeil_model.image_config import TOKENS_PER_CAPTION, check_grid


@dataclass(frozen=True)
class DualConfig:
    """Sizes of a pair of encoders, one of pictures and one of captions, built of the same layers."""

    image_height: int
    """Pixels; a multiple of patch_size."""
    image_width: int
    """Pixels; a multiple of patch_size."""
    channels: int
    """1 grey, 3 RGB, 4 RGBA."""
    patch_size: int
    """Pixels along an edge of a patch."""
    vocab_size: int
    """Token ids of captions are 0 … vocab_size − 1."""
    context_length: int
    """Most tokens of a caption."""
    embedding_width: int
    """Width of the space both sides meet in."""
    depth: int
    """Number of layers on each side."""
    width: int
    """Width of the residual streams."""
    num_heads: int
    """Heads; divides width."""
    norm_epsilon: float = 1e-6
    """Added to the mean square in every RMSNorm."""

    def __post_init__(self) -> None:
        for name in ("embedding_width", "context_length"):
            require_positive_integer(name, getattr(self, name), "Use a whole number of at least 1.")
        check_grid(self.image_height, self.image_width, self.channels, self.patch_size)
        _ = self.tower  # its checks are ours too

    @property
    def num_rows(self) -> int:
        """Rows of patches."""
        return self.image_height // self.patch_size

    @property
    def num_columns(self) -> int:
        """Columns of patches."""
        return self.image_width // self.patch_size

    @property
    def tower(self) -> ModelConfig:
        """One side as the shared layers take it."""
        length = max(self.context_length, self.num_rows, self.num_columns)
        return ModelConfig.from_depth(
            self.depth,
            self.vocab_size,
            context_length=length,
            width=self.width,
            num_heads=self.num_heads,
            num_key_value_heads=self.num_heads,
        )

    @classmethod
    def from_depth(
        cls,
        depth: int,
        *,
        image_height: int,
        image_width: int,
        channels: int,
        patch_size: int,
        vocab_size: int,
        context_length: int = TOKENS_PER_CAPTION,
        embedding_width: int = 64,
        width: int | None = None,
        num_heads: int | None = None,
    ) -> Self:
        """All sizes from one dial, as `ModelConfig.from_depth`; what is given by name wins over it."""
        tower = ModelConfig.from_depth(depth, 1, width=width, num_heads=num_heads)
        return cls(
            image_height=image_height,
            image_width=image_width,
            channels=channels,
            patch_size=patch_size,
            vocab_size=vocab_size,
            context_length=context_length,
            embedding_width=embedding_width,
            depth=depth,
            width=tower.width,
            num_heads=tower.num_heads,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; `from_dict` gives the same config back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config that `to_dict` described; unknown and missing keys are refused by name."""
        return cls(**known_fields(cls, values, "dual"))
