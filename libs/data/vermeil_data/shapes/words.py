"""What can be said of a scene, and asked about it: plain English with a fixed grammar."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import permutations

from vermeil_data.shapes.scene import COLOURS, KINDS, Draws, Scene, Shape

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RELATIONS = ("left of", "right of", "above", "below")
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


@dataclass(frozen=True)
class Question:
    """A question with its one right answer."""

    text: str
    answer: str


def place_name(shape: Shape) -> str:
    """Where a shape is: `top left`, `centre`, `bottom right`, …"""
    row, column = _ROWS[shape.row], _COLUMNS[shape.column]
    if row == "middle":
        return column
    return f"{row} {column}"


def relations(one: Shape, other: Shape) -> tuple[str, ...]:
    """How the first lies to the second."""
    found = []
    if one.column != other.column:
        found.append("left of" if one.column < other.column else "right of")
    if one.row != other.row:
        found.append("above" if one.row < other.row else "below")
    return tuple(found)


def look(shape: Shape) -> str:
    """`red circle`"""
    return f"{shape.colour} {shape.kind}"


def with_article(noun: str) -> str:
    """`a red circle`, `an orange circle`"""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def counted(noun: str, count: int) -> str:
    """`a red circle`, `two red circles`, `three crosses`"""
    if count == 1:
        return with_article(noun)
    return f"{NUMBERS[count]} {noun}{'es' if noun.endswith('s') else 's'}"


def captions(scene: Scene) -> tuple[str, ...]:
    """True descriptions, the fullest first; more of them where there is less to describe."""
    shapes = scene.shapes
    if not shapes:
        return ("nothing",)
    full, plain = (_listed(map(name, shapes)) for name in (look, _kind))
    if len(shapes) == 1:
        (shape,) = shapes
        place = f"{full} at the {place_name(shape)}"
        return (full, plain, with_article(f"{shape.size} {look(shape)}"), place)
    if len(shapes) == 2:
        # Said both ways round, so that the order of the words does not give the places away.
        turned = shapes[::-1]
        listed = [_listed(map(name, order)) for name in (look, _kind) for order in (shapes, turned)]
        related = [
            text for name in (look, _kind) for order in (shapes, turned) for text in _related(name, *order)
        ]
        return tuple(dict.fromkeys([*listed, *related]))
    return (full, plain)


def questions(scene: Scene, seed: int = 0, number: int = 0) -> tuple[Question, ...]:
    """Questions on presence, number, colour, kind, place and relation; which, is a function of the seed."""
    draws = Draws(seed, number)
    looks, kinds = Counter(map(look, scene.shapes)), Counter(shape.kind for shape in scene.shapes)
    found = [Question("how many shapes are there?", NUMBERS[len(scene.shapes)])]
    kind, colour = draws.one(KINDS), draws.one(tuple(COLOURS))
    found.append(Question(f"how many {_plural(kind)} are there?", NUMBERS[kinds[kind]]))
    for noun in (f"{colour} {kind}", *sorted(looks)[:1]):
        found.append(Question(f"is there {with_article(noun)}?", "yes" if looks[noun] else "no"))
    for shape in scene.shapes:
        if kinds[shape.kind] == 1:
            found.append(Question(f"what colour is the {shape.kind}?", shape.colour))
        if sum(other.colour == shape.colour for other in scene.shapes) == 1:
            found.append(Question(f"what shape is {shape.colour}?", shape.kind))
        if looks[look(shape)] == 1:
            found.append(Question(f"where is the {look(shape)}?", place_name(shape)))
            found.append(Question(f"how large is the {look(shape)}?", shape.size))
    alone = [shape for shape in scene.shapes if looks[look(shape)] == 1]
    for one, other in list(permutations(alone, 2))[:2]:
        relation = draws.one(RELATIONS)
        answer = "yes" if relation in relations(one, other) else "no"
        found.append(Question(f"is the {look(one)} {relation} the {look(other)}?", answer))
    return tuple(dict.fromkeys(found))


def _listed(nouns: Iterable[str]) -> str:
    parts = [counted(noun, count) for noun, count in Counter(nouns).items()]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _related(name: Callable[[Shape], str], one: Shape, other: Shape) -> list[str]:
    """How the first lies to the second, where their names tell them apart."""
    if name(one) == name(other):
        return []
    ends = with_article(name(one)), with_article(name(other))
    return [f"{ends[0]} {relation} {ends[1]}" for relation in relations(one, other)]


def _kind(shape: Shape) -> str:
    return shape.kind


def _plural(noun: str) -> str:
    return f"{noun}{'es' if noun.endswith('s') else 's'}"
