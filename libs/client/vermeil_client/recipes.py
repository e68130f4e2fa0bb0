"""Recipes on the client's side: read the YAML, apply what the command line changes, send it on.

The trainer checks a recipe against its contract; here only what would never reach it is refused.
"""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from vermeil_errors import InvalidInput, NotFound

_PLACE = re.compile(r"([^\[\]]+)\[(\d+)\]")


class _Loader(yaml.SafeLoader):
    """JSON has no dates: what looks like one stays a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  as its base has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_EXPONENT_WITHOUT_POINT = re.compile(r"[-+]?\d+[eE][-+]?\d+")


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a recipe file.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is not YAML, or not a mapping.
    """
    try:
        recipe = _from_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFound(f"no recipe at {path}", fix="name a .yaml file or one of `vermeil recipes`") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise InvalidInput(f"{path} is not YAML that is JSON too: {error}") from error
    if not isinstance(recipe, dict):
        raise InvalidInput(
            f"{path} holds no recipe", fix="write fields such as `name:` and `data:` at its top"
        )
    return recipe


def with_changes(recipe: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply assignments such as `run.steps=100` or `mixture.sources[0].dataset=…`; values are read as YAML.

    Raises:
        InvalidInput: An assignment is not `field=value`, or there is no such place.
    """
    changed = copy.deepcopy(dict(recipe))
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not (equals and path.strip()):
            raise InvalidInput.for_field("--set", assignment, "not field=value", "write --set run.steps=100")
        *groups, last = path.strip().split(".")
        place = changed
        for group in groups:
            place = _group(place, group, assignment)
        try:
            place[last] = _value(text)
        except (yaml.YAMLError, ValueError, TypeError) as error:
            problem = f"the value is not YAML that is JSON too: {error}"
            raise InvalidInput.for_field("--set", assignment, problem) from error
    return changed


def _group(place: dict[str, Any], name: str, assignment: str) -> dict[str, Any]:
    """The group of this name, or one of several: name[0] is the first."""
    listed = _PLACE.fullmatch(name)
    if listed is None:
        found = place[name] = place.get(name) or {}
    else:
        several, index = place.get(listed[1]), int(listed[2])
        if not isinstance(several, list) or index >= len(several):
            count = len(several) if isinstance(several, list) else 0
            raise InvalidInput.for_field("--set", assignment, f"{listed[1]} has {count} entries")
        found = several[index]
    if not isinstance(found, dict):
        raise InvalidInput.for_field("--set", assignment, f"{name} holds a value, not fields")
    return found


def _value(text: str) -> Any:
    """YAML 1.1 reads 3e-4 as a string; people mean a number."""
    if _EXPONENT_WITHOUT_POINT.fullmatch(text.strip()):
        return float(text)
    return _from_yaml(text)


def _from_yaml(text: str) -> Any:
    value = yaml.load(text, _Loader)  # noqa: S506  a safe one
    json.dumps(value, allow_nan=False)  # as it is sent
    return value
