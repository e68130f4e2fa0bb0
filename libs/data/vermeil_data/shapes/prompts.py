"""Prompts in the six categories of GenEval, and whether a scene does what a prompt asks.

Categories and rules follow D. Ghosh, H. Hajishirzi and L. Schmidt, GenEval, 2023: an object asked for is
there at least once, a number is met exactly, a relation holds for one pair at least.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vermeil_data.shapes.scene import COLOURS, KINDS, Draws, Scene, Shape
from vermeil_data.shapes.words import RELATIONS, counted, relations, with_article

CATEGORIES = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
"""GenEval's own names."""
MAX_COUNT = 4


@dataclass(frozen=True)
class Wanted:
    """One thing a prompt asks for."""

    kind: str
    colour: str | None = None
    """None: any."""
    count: int | None = None
    """Exactly so many; None: at least one."""

    def matches(self, shape: Shape) -> bool:
        """Whether a shape is such a thing."""
        return shape.kind == self.kind and self.colour in (None, shape.colour)


@dataclass(frozen=True)
class Prompt:
    """A text, and what a picture of it must show."""

    category: str
    text: str
    wanted: tuple[Wanted, ...]
    relation: str | None = None
    """How the first wanted lies to the second: left of, right of, above or below."""


def shape_prompts(seed: int, per_category: int) -> Iterator[Prompt]:
    """So many prompts of each category, category by category; a function of the seed."""
    for index, category in enumerate(CATEGORIES):
        for number in range(per_category):
            yield _prompt(category, Draws(seed, index * 1_000_003 + number))


def fulfils(scene: Scene, prompt: Prompt) -> bool:
    """Whether a scene, as read by the judge, shows what the prompt asks for."""
    for wanted in prompt.wanted:
        count = sum(map(wanted.matches, scene.shapes))
        if count != wanted.count if wanted.count is not None else not count:
            return False
    if prompt.relation is None:
        return True
    first, second = prompt.wanted
    return any(
        prompt.relation in relations(one, other)
        for one in filter(first.matches, scene.shapes)
        for other in filter(second.matches, scene.shapes)
    )


def _prompt(category: str, draws: Draws) -> Prompt:
    kinds, colours = draws.some(KINDS, 2), draws.some(tuple(COLOURS), 2)
    if category in ("single_object", "colors"):
        colour = colours[0] if category == "colors" else None
        return Prompt(category, _noun(kinds[0], colour), (Wanted(kinds[0], colour),))
    if category == "counting":
        count = 2 + draws.below(MAX_COUNT - 1)
        return Prompt(category, counted(kinds[0], count), (Wanted(kinds[0], count=count),))
    coloured = colours if category == "color_attr" else [None, None]
    one, other = (_noun(kind, colour) for kind, colour in zip(kinds, coloured, strict=True))
    wanted = tuple(Wanted(kind, colour) for kind, colour in zip(kinds, coloured, strict=True))
    if category == "position":
        relation = draws.one(RELATIONS)
        return Prompt(category, f"{one} {relation} {other}", wanted, relation)
    return Prompt(category, f"{one} and {other}", wanted)


def _noun(kind: str, colour: str | None) -> str:
    return with_article(f"{colour} {kind}" if colour else kind)
