"""Parts of a schema that no answer could ever complete, because they require themselves.

The compiler of grammars takes them, and an answer would go deeper until it runs out of tokens. Unusual: what
cannot be told counts as possible; only what never ends by `$ref`, `allOf`, `anyOf`, `oneOf`, required
properties and items that must be there is found.
"""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote

Schema = Mapping[str, object]


def endless_part(parts: Sequence[tuple[str, Schema]]) -> str | None:
    """The path of a part that cannot be completed, if there is one.

    Args:
        parts: Every schema in a schema with its path, itself first.
    """
    root = parts[0][1]
    needs = {id(part): [[id(case) for case in cases] for cases in _needs(part, root)] for _, part in parts}
    endless = set(needs)
    while ended := {key for key in endless if all(set(cases) - endless for cases in needs[key])}:
        endless -= ended
    left = [(path, part) for path, part in parts if id(part) in endless]
    named = [path for path, part in left if "$ref" not in part] + [path for path, _ in left]
    return named[0] if named else None


def _needs(part: Schema, root: Schema) -> Iterator[Sequence[object]]:
    """What every answer to it holds: each time a choice of schemas, of which one has to be completed."""
    if isinstance(part.get("$ref"), str):
        yield [_referred(str(part["$ref"]), root)]
    for each in _list(part, "allOf"):
        yield [each]
    for key in ("anyOf", "oneOf"):
        if cases := _list(part, key):
            yield cases
    properties, least = part.get("properties"), part.get("minItems")
    if part.get("type") == "object" and isinstance(properties, dict):
        for name in _list(part, "required"):
            yield [properties.get(name) if isinstance(name, str) else None]
    if part.get("type") == "array" and isinstance(least, int):
        first = _list(part, "prefixItems")
        for each in first[: max(0, least)]:
            yield [each]
        if least > len(first):
            yield [part.get("items")]


def _list(part: Schema, key: str) -> list[object]:
    value = part.get(key)
    return value if isinstance(value, list) else []


def _referred(reference: str, root: Schema) -> object:
    """What a pointer such as #/$defs/node points at; None for anything else."""
    if reference != "#" and not reference.startswith("#/"):
        return None
    found: object = root
    for step in reference.split("/")[1:]:
        inside = {str(place): each for place, each in enumerate(found)} if isinstance(found, list) else found
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        found = inside.get(name) if isinstance(inside, dict) else None
    return found
