"""The sizes of a text tower: one frozen record, checked when it is made.

One dial, `depth`, gives width, heads and feed-forward width; named presets are points on it.
Unusual: heads need not fill the width (Qwen3 has width 1024 and 16 heads of 128), so `head_width`
is a field of its own.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from vermeil_errors import InvalidInput

WIDTH_PER_LAYER = 64
LARGE_DEPTH = 20
"""From here up: heads of 128, grouped key/value heads, an output matrix apart from the embedding."""

SIZES: Mapping[str, tuple[int, int]] = {
    "nano": (4, 256),
    "tiny": (6, 512),
    "small": (12, 1024),
    "base": (30, 2048),
    "large": (52, 4096),
}
"""Name → (depth, context length): about 4 M, 12 M, 110 M, 1.3 B and 6.6 B parameters with a vocabulary
of 4k (nano, tiny) to 32k."""


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3's stretch of the rotary frequencies for contexts longer than the pretrained one."""

    factor: float
    """How much slower the slowest frequencies turn; at least 1."""
    low_frequency_factor: float
    """Wavelengths above original_context_length / this are stretched in full."""
    high_frequency_factor: float
    """Wavelengths below original_context_length / this stay as they are."""
    original_context_length: int
    """Tokens of context the checkpoint was pretrained with."""

    def __post_init__(self) -> None:
        require(self.factor >= 1, "rope_scaling.factor", self.factor, "is below 1", "Use 1 or more.")
        require(
            self.high_frequency_factor > self.low_frequency_factor > 0,
            "rope_scaling.high_frequency_factor",
            self.high_frequency_factor,
            f"must exceed low_frequency_factor ({self.low_frequency_factor}), and both must be positive",
            "Llama 3 uses 1 and 4.",
        )
        require_positive_integer(
            "rope_scaling.original_context_length", self.original_context_length, "Llama 3 uses 8192."
        )


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the text tower, a Llama-like decoder (with `qk_norm`, a Qwen3-like one)."""

    vocab_size: int
    """Rows of the embedding: token ids are 0 … vocab_size − 1."""
    depth: int
    """Number of layers."""
    width: int
    """Width of the residual stream."""
    num_heads: int
    """Query heads."""
    num_key_value_heads: int
    """Key and value heads; divides num_heads."""
    head_width: int
    """Width of one head; even, because rotary embedding turns pairs."""
    feed_forward_width: int
    """Hidden width of the SwiGLU feed-forward."""
    context_length: int
    """Most tokens in one sequence."""
    rope_theta: float = 10_000.0
    """Base of the rotary wavelengths."""
    rope_scaling: RopeScaling | None = None
    """Llama 3's frequency stretch, or none."""
    norm_epsilon: float = 1e-6
    """Added to the mean square in every RMSNorm."""
    qk_norm: bool = True
    """Normalise each query and key head before rotation (Qwen3); off is plain Llama."""
    tie_embeddings: bool = True
    """One matrix both embeds tokens and reads out logits."""

    def __post_init__(self) -> None:
        for name in _INTEGER_FIELDS:
            require_positive_integer(name, getattr(self, name), "Use a whole number of at least 1.")
        for name in ("qk_norm", "tie_embeddings"):
            value = getattr(self, name)
            require(isinstance(value, bool), name, value, "is not true or false", "Use true or false.")
        for name in ("rope_theta", "norm_epsilon"):
            value = getattr(self, name)
            require(
                _is_positive_number(value), name, value, "is not a positive number", "See the preset sizes."
            )
        require(
            self.num_heads % self.num_key_value_heads == 0,
            "num_key_value_heads",
            self.num_key_value_heads,
            f"does not divide num_heads ({self.num_heads})",
            f"Use one of {_divisors(self.num_heads)}.",
        )
        require(self.head_width % 2 == 0, "head_width", self.head_width, "is odd", "Use an even head width.")

    @classmethod
    def from_depth(
        cls,
        depth: int,
        vocab_size: int,
        *,
        context_length: int = 1024,
        width: int | None = None,
        num_heads: int | None = None,
        head_width: int | None = None,
        num_key_value_heads: int | None = None,
        qk_norm: bool = True,
        tie_embeddings: bool | None = None,
    ) -> Self:
        """All sizes from one dial; what is given by name wins over the dial.

        Width is 64 per layer, heads fill it and are 64 wide (128 from depth 20), the feed-forward is 8/3
        of the width rounded up to a multiple of 64.
        """
        require_positive_integer("depth", depth, "Use a whole number of at least 1.")
        width = depth * WIDTH_PER_LAYER if width is None else width
        require_positive_integer("width", width, "Use a whole number of at least 1.")
        large = depth >= LARGE_DEPTH
        if num_heads is None:
            num_heads = max(1, width // (head_width or (128 if large else 64)))
        require_positive_integer("num_heads", num_heads, "Use a whole number of at least 1.")
        require(
            head_width is not None or width % num_heads == 0,
            "num_heads",
            num_heads,
            f"does not divide width ({width})",
            f"Use one of {_divisors(width)}, another width, or give head_width too.",
        )
        if num_key_value_heads is None:
            num_key_value_heads = num_heads // _group_size(num_heads) if large else num_heads
        return cls(
            vocab_size=vocab_size,
            depth=depth,
            width=width,
            num_heads=num_heads,
            num_key_value_heads=num_key_value_heads,
            head_width=width // num_heads if head_width is None else head_width,
            feed_forward_width=-(-8 * width // (3 * 64)) * 64,
            context_length=context_length,
            qk_norm=qk_norm,
            tie_embeddings=not large if tie_embeddings is None else tie_embeddings,
        )

    @classmethod
    def from_size(cls, name: str, vocab_size: int, *, context_length: int | None = None) -> Self:
        """A preset: nano, tiny, small, base or large."""
        if name not in SIZES:
            raise InvalidInput.for_field("size", name, "is not a preset", f"Use one of {', '.join(SIZES)}.")
        depth, default_context = SIZES[name]
        return cls.from_depth(depth, vocab_size, context_length=context_length or default_context)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON; `from_dict` gives the same config back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config that `to_dict` described; unknown and missing keys are refused by name."""
        given = dict(known_fields(cls, values, "text"))
        scaling = given.get("rope_scaling")
        if scaling is not None:
            found = known_fields(RopeScaling, scaling, "rope_scaling", prefix="rope_scaling.")
            given["rope_scaling"] = RopeScaling(**found)
        return cls(**given)


_INTEGER_FIELDS = tuple(f.name for f in fields(ModelConfig) if f.type == "int")


def known_fields(cls: type, values: object, field: str, *, prefix: str = "") -> Mapping[str, Any]:
    """`values`, if they are a table that names every required field of a dataclass and nothing else."""
    if not isinstance(values, Mapping):
        raise InvalidInput.for_field(field, values, "is not a table", f"See {cls.__name__} for its fields.")
    names = {f.name for f in fields(cls)}
    for name in values:
        if name not in names:
            close = difflib.get_close_matches(str(name), names, n=1)
            fix = f"Did you mean {close[0]}?" if close else f"Known are {', '.join(sorted(names))}."
            raise InvalidInput.for_field(f"{prefix}{name}", values[name], "is not a field of the model", fix)
    required = {f.name for f in fields(cls) if f.default is f.default_factory}
    for name in sorted(required - set(values)):
        raise InvalidInput.for_field(f"{prefix}{name}", None, "is missing", "Give it a value.")
    return values


def require(holds: bool, field: str, value: object, problem: str, fix: str) -> None:
    """Refuse a field's value unless the condition holds."""
    if not holds:
        raise InvalidInput.for_field(field, value, problem, fix)


def require_positive_integer(field: str, value: object, fix: str) -> None:
    """Refuse what is not a whole number of at least 1."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    require(whole and value > 0, field, value, "is not a positive whole number", fix)  # type: ignore[operator]


def _is_positive_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _divisors(number: int) -> str:
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    shown = divisors if len(divisors) <= 12 else divisors[:12]
    return ", ".join(map(str, shown)) + (" …" if len(divisors) > 12 else "")


def _group_size(num_heads: int) -> int:
    return next(size for size in (4, 3, 2, 1) if num_heads % size == 0)
