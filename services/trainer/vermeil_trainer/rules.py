"""What may stand in a field of a recipe: declared beside the field, with its default.

`steps: int = whole(1000, low=1)` is a dataclass field whose rule travels in its metadata.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vermeil_errors import InvalidInput, Violation

RULE, EACH = "rule", "each"
"""Keys of a field's metadata under which its rule is kept, or the class of each of several."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a value."""

    text: str
    """Follows the value: "is out of range"."""
    fix: str
    """What to write instead."""


Rule = Callable[[Any], Problem | None]


def whole(default: int | None, low: int, high: int | None = None) -> Any:
    """A whole number from `low` to `high`."""
    words = f"{low:,} or more" if high is None else f"{low:,} to {high:,}"

    def rule(value: int) -> Problem | None:
        inside = value >= low and (high is None or value <= high)
        return None if inside else Problem("is out of range", f"give {words}")

    return field(default=default, metadata={RULE: rule})


def number(
    default: float | None, low: float, high: float = math.inf, *, above: bool = False, below: bool = False
) -> Any:
    """A number from `low` to `high`; `above` and `below` leave out the ends."""
    words = f"above {low:g}" if above else f"at least {low:g}"
    if high != math.inf:
        words += f" and {'below' if below else 'at most'} {high:g}"

    def rule(value: float) -> Problem | None:
        inside = math.isfinite(value) and low <= value <= high
        if inside and not (above and value == low) and not (below and value == high):
            return None
        return Problem("is out of range", f"give a number {words}")

    return field(default=default, metadata={RULE: rule})


def choice(default: str | int, *others: str | int) -> Any:
    """One of a few words or numbers; the first is the default."""
    choices = [each for each in (default, *others) if each]
    words = " or ".join(map(str, choices))

    def rule(value: str | int) -> Problem | None:
        return None if value in choices else Problem("is not a choice", f"choose {words}")

    return field(default=default, metadata={RULE: rule})


def free(default: str | bool | None = "") -> Any:
    """Any text, or a flag."""
    return field(default=default, metadata={RULE: lambda _: None})


def each(section: type) -> Any:
    """Any number of groups of fields."""
    return field(default=(), metadata={EACH: section})


def violation(field: str, value: object, problem: str, fix: str) -> Violation:
    """One broken rule, in the words that every error of ours uses."""
    return InvalidInput.for_field(field, value, problem, fix).violations[0]
