"""What a model takes and what it answers with, by the task of the recipe it was trained by, and its base.

Versions never change, so what was once known of one stays known.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vermeil.registry.v1.model_pb2 import ModelVersion
from vermeil.registry.v1.registry_service_pb2 import GetModelVersionRequest

from vermeil_gateway.clients import Clients

CALLS_AT_ONCE = 16


class Traits(NamedTuple):
    """Of one version."""

    takes: tuple[str, ...]
    """Kinds of content."""
    gives: tuple[str, ...]
    """Kinds of content."""
    base: str = ""
    """Of an adapter: the version it is loaded over."""


UNKNOWN = Traits((), ())
_TEXT = Traits(("text",), ("text",))
_BY_TASK: Mapping[str, Traits] = {
    "": _TEXT,
    "text": _TEXT,
    "int8": _TEXT,
    "image": Traits(("text",), ("image",)),
    "fusion": Traits(("text", "image"), ("text", "image")),
    "dual": Traits(("text", "image"), ("embedding",)),
    "classifier": Traits(("image",), ("class",)),
}


def traits_of(version: ModelVersion) -> Traits:
    """By the recipe; a version without one was imported, and only text models are."""
    recipe = json.loads(version.recipe or "{}")
    return _BY_TASK.get(recipe.get("task", ""), UNKNOWN)._replace(base=version.base)


class Modalities:
    """Asks the registry once for each version."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._known: dict[str, Traits] = {"": UNKNOWN}

    async def of_versions(self, names: Sequence[str]) -> list[Traits]:
        """For each name of a version; for "", of a model without one, nothing."""
        free = asyncio.Semaphore(CALLS_AT_ONCE)

        async def ask(name: str) -> None:
            async with free:
                request = GetModelVersionRequest(name=name)
                found = await self._clients.call(self._clients.registry.GetModelVersion, request)
                self._known[name] = traits_of(found.version)

        await asyncio.gather(*(ask(name) for name in set(names) - self._known.keys()))
        return [self._known[name] for name in names]
