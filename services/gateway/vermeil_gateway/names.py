"""Names of models as people write them and as the contracts do."""

import re

from vermeil_errors import NotFound

_RESOURCE = re.compile(r"models/(?P<model>[a-z][a-z0-9-]{0,62})(/versions/(?P<version>[1-9][0-9]{0,8}))?")
_SHORT = re.compile(r"(?P<model>[a-z][a-z0-9-]{0,62})(@(?P<version>[1-9][0-9]{0,8}))?")


def resource_name(model: str) -> str:
    """`vermeil-nano`, `vermeil-nano@3` or a full name → the full name."""
    found = _RESOURCE.fullmatch(model) or _SHORT.fullmatch(model)
    if found is None:
        raise NotFound(
            "no such model",
            field="model",
            value=model,
            fix="write vermeil-nano or vermeil-nano@3; GET /v1/models lists all",
        )
    name = f"models/{found['model']}"
    return f"{name}/versions/{found['version']}" if found["version"] else name


def short_name(resource: str) -> str:
    """`models/vermeil-nano/versions/3` → `vermeil-nano@3`."""
    name = resource.removeprefix("models/")
    model, _, version = name.partition("/versions/")
    return f"{model}@{version}" if version else model


def version_number(resource: str) -> int | None:
    """The 3 of `…/versions/3`; None where the name has no version."""
    _, _, version = resource.partition("/versions/")
    return int(version) if version.isdecimal() else None
