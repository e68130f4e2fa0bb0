"""The sizes of an image tower: one frozen record, checked when it is made.

The same dial as the text tower's, `depth`, gives width, heads and feed-forward width, so that towers of
equal heads can be fused layer by layer. `tower` is what the shared layers need to know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from vermeil_errors import InvalidInput

from vermeil_model.config import (
    SIZES,
    ModelConfig,
    known_fields,
    require,
    require_positive_integer,
)

Condition = Literal["none", "class", "text"]

ADALN_DEPTH = 12
"""From here up time and condition also modulate every layer (AdaLN), unless told otherwise."""
TOKENS_PER_CLASS = 4
"""Condition tokens of a class, unless told otherwise."""
TOKENS_PER_CAPTION = 64
"""Most condition tokens of a caption, unless told otherwise."""


@dataclass(frozen=True)
class ImageConfig:
    """Sizes of the image tower, a DiT-like transformer over raw patches."""

    image_height: int
    """Pixels; a multiple of patch_size."""
    image_width: int
    """Pixels; a multiple of patch_size."""
    channels: int
    """1 grey, 3 RGB, 4 RGBA; more for latents of an autoencoder."""
    patch_size: int
    """Pixels along an edge of a patch."""
    depth: int
    """Number of layers."""
    width: int
    """Width of the residual stream."""
    num_heads: int
    """Query heads."""
    num_key_value_heads: int
    """Key and value heads; divides num_heads."""
    head_width: int
    """Width of one head; even."""
    feed_forward_width: int
    """Hidden width of the SwiGLU feed-forward."""
    condition: Condition = "none"
    """What pictures are asked for by: none, class or text."""
    num_classes: int = 0
    """Classes are 0 … num_classes − 1; 0 unless the condition is a class."""
    vocab_size: int = 0
    """Token ids of captions are 0 … vocab_size − 1; 0 unless the condition is text."""
    context_length: int = 0
    """Condition tokens: every class has so many of its own, a caption at most so many; 0 without."""
    pool_condition: bool = True
    """Also add the mean of the condition, projected, to the time embedding."""
    adaln: bool = False
    """Time also shifts, scales and gates every layer (AdaLN)."""
    rope_theta: float = 10_000.0
    """Base of the rotary wavelengths."""
    norm_epsilon: float = 1e-6
    """Added to the mean square in every RMSNorm."""
    qk_norm: bool = True
    """Normalise each query and key head before rotation."""

    def __post_init__(self) -> None:
        check_grid(self.image_height, self.image_width, self.channels, self.patch_size)
        for name in ("pool_condition", "adaln"):
            value = getattr(self, name)
            require(isinstance(value, bool), name, value, "is not true or false", "Use true or false.")
        self._check_condition()
        _ = self.tower  # its checks are ours too

    def _check_condition(self) -> None:
        kinds = get_args(Condition)
        require(
            self.condition in kinds,
            "condition",
            self.condition,
            "is no kind of condition",
            f"Use one of {', '.join(kinds)}.",
        )
        for name, needed in (
            ("num_classes", self.condition == "class"),
            ("vocab_size", self.condition == "text"),
            ("context_length", self.condition != "none"),
        ):
            value = getattr(self, name)
            if needed:
                require_positive_integer(
                    name, value, f"A model with condition {self.condition!r} needs 1 or more."
                )
            else:
                require(
                    value == 0 and not isinstance(value, bool),
                    name,
                    value,
                    f"has no meaning with condition {self.condition!r}",
                    "Use 0, or another condition.",
                )

    @property
    def num_rows(self) -> int:
        """Rows of patches."""
        return self.image_height // self.patch_size

    @property
    def num_columns(self) -> int:
        """Columns of patches."""
        return self.image_width // self.patch_size

    @property
    def num_patches(self) -> int:
        """Patches of one picture."""
        return self.num_rows * self.num_columns

    @property
    def patch_width(self) -> int:
        """Values of one patch."""
        return self.patch_size**2 * self.channels

    @property
    def num_condition_rows(self) -> int:
        """Rows of the table of condition tokens."""
        return self.num_classes * self.context_length if self.condition == "class" else self.vocab_size

    @property
    def tower(self) -> ModelConfig:
        """These sizes as the layers shared with the text tower take them."""
        return ModelConfig(
            vocab_size=max(1, self.num_condition_rows),
            depth=self.depth,
            width=self.width,
            num_heads=self.num_heads,
            num_key_value_heads=self.num_key_value_heads,
            head_width=self.head_width,
            feed_forward_width=self.feed_forward_width,
            context_length=self.context_length + max(self.num_rows, self.num_columns),
            rope_theta=self.rope_theta,
            norm_epsilon=self.norm_epsilon,
            qk_norm=self.qk_norm,
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
        condition: Condition = "none",
        num_classes: int = 0,
        vocab_size: int = 0,
        context_length: int | None = None,
        pool_condition: bool = True,
        adaln: bool | None = None,
        width: int | None = None,
        num_heads: int | None = None,
        head_width: int | None = None,
        num_key_value_heads: int | None = None,
    ) -> Self:
        """All sizes from one dial, as `ModelConfig.from_depth`; what is given by name wins over it."""
        if context_length is None:
            context_length = {"class": TOKENS_PER_CLASS, "text": TOKENS_PER_CAPTION}.get(condition, 0)
        tower = ModelConfig.from_depth(
            depth,
            1,
            width=width,
            num_heads=num_heads,
            head_width=head_width,
            num_key_value_heads=num_key_value_heads,
        )
        return cls(
            image_height=image_height,
            image_width=image_width,
            channels=channels,
            patch_size=patch_size,
            depth=tower.depth,
            width=tower.width,
            num_heads=tower.num_heads,
            num_key_value_heads=tower.num_key_value_heads,
            head_width=tower.head_width,
            feed_forward_width=tower.feed_forward_width,
            condition=condition,
            num_classes=num_classes,
            vocab_size=vocab_size,
            context_length=context_length,
            pool_condition=pool_condition,
            adaln=depth >= ADALN_DEPTH if adaln is None else adaln,
        )

    @classmethod
    def from_size(cls, name: str, **others: Any) -> Self:
        """A preset of the text tower's (nano, tiny, small, base, large); the rest as in `from_depth`."""
        if name not in SIZES:
            raise InvalidInput.for_field("size", name, "is not a preset", f"Use one of {', '.join(SIZES)}.")
        return cls.from_depth(SIZES[name][0], **others)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; `from_dict` gives the same config back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config that `to_dict` described; unknown and missing keys are refused by name."""
        return cls(**known_fields(cls, values, "image"))


def check_grid(image_height: int, image_width: int, channels: int, patch_size: int) -> None:
    """Refuse pictures that cannot be cut into whole patches."""
    sizes = {"image_height": image_height, "image_width": image_width}
    for name, value in (sizes | {"channels": channels, "patch_size": patch_size}).items():
        require_positive_integer(name, value, "Use a whole number of at least 1.")
    for name, size in sizes.items():
        require(
            size % patch_size == 0,
            name,
            size,
            f"is no multiple of patch_size ({patch_size})",
            "Resize the pictures or change the patch size.",
        )
