"""Which sizes a recipe asks for, and whether they fit one another, without loading the network.

The API checks recipes in a process that has no torch; the rules are those of vermeil_model.ModelConfig,
and a test holds the two together.
"""

from dataclasses import dataclass

from vermeil_errors import Violation

from vermeil_trainer.recipe import ModelSpec
from vermeil_trainer.rules import violation

SIZES = {"nano": (4, 256), "tiny": (6, 512), "small": (12, 1024), "base": (30, 2048), "large": (52, 4096)}
"""Name → depth and context length."""
_CONTEXT_LENGTH = 1024
_WIDTH_PER_LAYER = 64
_LARGE_DEPTH = 20


@dataclass(frozen=True)
class Sizes:
    """What is settled before anything is derived."""

    depth: int
    """Number of layers."""
    context_length: int
    """Longest sequence in tokens."""
    width: int
    """Width of the residual stream."""
    num_heads: int
    """Query heads."""


def sizes_of(model: ModelSpec) -> Sizes:
    """A depth wins over a size's name, a dimension over both."""
    depth, context_length = SIZES[model.size or "nano"]
    if model.depth is not None:
        depth = model.depth
        context_length = context_length if model.size else _CONTEXT_LENGTH
    width = model.width or depth * _WIDTH_PER_LAYER
    usual = model.head_width or (128 if depth >= _LARGE_DEPTH else 64)
    num_heads = model.num_heads or max(1, width // usual)
    return Sizes(depth, model.context_length or context_length, width, num_heads)


def size_violations(model: ModelSpec) -> list[Violation]:
    """Sizes that do not fit one another; each value on its own is in range."""
    if model.initial:
        return []
    sizes = sizes_of(model)
    heads, width = sizes.num_heads, sizes.width
    # Name what was written: what follows from it is not in the recipe.
    field, value = ("width", width) if model.num_heads is None else ("num_heads", heads)
    if model.head_width is None and width % heads:
        problem = f"cannot be: {heads} heads do not divide width {width}"
        fix = f"use {_near_divisors(width, heads)} heads, a multiple of {heads}, or give model.head_width"
        return [violation(f"model.{field}", value, problem, fix)]
    violations = []
    if model.head_width is not None and model.head_width % 2:
        violations.append(violation("model.head_width", model.head_width, "is odd", "use an even width"))
    elif model.head_width is None and (width // heads) % 2:
        problem = f"makes heads {width // heads} wide, which is odd"
        violations.append(violation(f"model.{field}", value, problem, "use heads of an even width"))
    grouped = model.num_key_value_heads
    if grouped is not None and heads % grouped:
        problem, fix = f"does not divide the {heads} query heads", f"use {_near_divisors(heads, grouped)}"
        violations.append(violation("model.num_key_value_heads", grouped, problem, fix))
    return violations


def _near_divisors(number: int, wanted: int) -> str:
    divisors = [each for each in range(1, number + 1) if number % each == 0]
    near = sorted(sorted(divisors, key=lambda each: abs(each - wanted))[:4])
    return " or ".join(map(str, near))
