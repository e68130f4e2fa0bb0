"""Models in memory: loaded when first asked for, and let go of least recently used first.

A model that somebody uses stays, and so does the base of adapters, which is loaded once for all of them.
One whose thread has ended is let go of as soon as its users leave, and loaded anew when asked for again.
Loading and closing run in threads, so that others are answered on.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from vermeil_errors import (
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Overloaded,
    TooLarge,
    Unavailable,
)
from vermeil_telemetry import get_logger

from vermeil_generator.clients import ModelSource, Names
from vermeil_generator.loaded import LoadedModel

_NAME = re.compile(r"models/[a-z][a-z0-9-]{0,62}(/versions/[1-9][0-9]{0,8})?")
_logger = get_logger(__name__)


@dataclass(eq=False)
class _Place:
    model: LoadedModel
    base: "_Place | None" = None
    """Of an adapter: what it is loaded over."""
    num_users: int = 0
    """Requests that it works on."""
    num_over: int = 0
    """Adapters that are loaded over it."""

    @property
    def is_idle(self) -> bool:
        return self.num_users == 0 and self.num_over == 0


class Models:
    """The models of this process.

    Args:
        names: Knows which version a name stands for.
        load: Fetches and loads a version, an adapter over the model it is given; runs in a thread.
        max_bytes: Memory for all of them.
    """

    def __init__(
        self,
        names: Names,
        load: Callable[[ModelSource, LoadedModel | None], LoadedModel],
        max_bytes: int,
    ) -> None:
        self._names = names
        self._load = load
        self._max_bytes = max_bytes
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._loading: dict[str, asyncio.Task[_Place]] = {}
        self._leaving: dict[_Place, asyncio.Task[None]] = {}
        """What is unloaded as soon as nobody uses it."""
        self._making_room = asyncio.Lock()
        self._last_known: dict[str, ModelSource] = {}
        self._left = asyncio.Condition()
        self._is_draining = False

    @asynccontextmanager
    async def using(self, name: str) -> AsyncGenerator[LoadedModel, None]:
        """The model behind a name, loaded if need be; it stays in memory while the block lasts."""
        if self._is_draining:
            raise Unavailable("the generator is shutting down", fix="ask again")
        place = await self._sure_place(await self._find(name))
        place.num_users += 1
        try:
            yield place.model
        finally:
            place.num_users -= 1
            await self._tell_waiting()
            if not place.model.is_alive:
                self._leave(place.base or place)

    async def unload(self, name: str) -> None:
        """Free a version and its adapters once their requests are answered; later ones load it anew."""
        place = self._places.get(name)
        if place is None:
            raise NotFound("is not loaded", field="model", value=name, fix="ListLoadedModels says which are")
        self._leave(place)
        await asyncio.shield(self._leaving[place])  # whoever asked for it may leave before those who use it

    def _leave(self, place: _Place) -> None:
        """Free a place once nobody uses it, unless that is under way; nobody new gets it."""
        if self._places.get(place.model.name) is place:
            del self._places[place.model.name]
            task = self._leaving[place] = asyncio.create_task(self._let_go(place))
            task.add_done_callback(lambda _: self._leaving.pop(place, None))

    async def _let_go(self, place: _Place) -> None:
        while not place.is_idle:
            if adapters := self._over(place):
                await self.unload(adapters[0])
                continue
            async with self._left:
                await self._left.wait_for(lambda: place.is_idle or self._over(place))
        await self._close(place)

    def loaded(self) -> list[tuple[LoadedModel, int]]:
        """Every model in memory with its number of requests, by name."""
        return [(place.model, place.num_users) for _, place in sorted(self._places.items())]

    async def drain(self) -> None:
        """Take no new requests."""
        self._is_draining = True

    async def close(self) -> None:
        """Free all models."""
        for task in self._leaving.values():
            task.cancel()
        places = sorted((*self._places.values(), *self._leaving), key=lambda place: place.base is None)
        self._places.clear()
        for place in places:
            await self._close(place)
        await self._names.close()

    async def _find(self, name: str) -> ModelSource:
        """What a name stands for; with the registry away, what it stood for when last asked."""
        if not _NAME.fullmatch(name):
            raise InvalidInput.for_field(
                "model",
                name,
                "is no name of a model",
                "write models/{model} or models/{model}/versions/{version}",
            )
        if name in self._places:
            return self._last_known[name]
        try:
            source = await self._names.find(name)
        except (Unavailable, DeadlineExceeded):
            known = self._last_known.get(name)
            if known is None or known.name not in self._places:
                raise
            return known
        self._last_known[name] = self._last_known[source.name] = source
        return source

    async def _sure_place(self, source: ModelSource) -> _Place:
        """The model's place, which is there until somebody else gets a turn."""
        place = await self._place(source)
        while self._places.get(source.name) is not place:  # let go of while we waited for our turn
            place = await self._place(source)
        return place

    async def _place(self, source: ModelSource) -> _Place:
        place = self._places.get(source.name)
        if place is None or not place.model.is_alive:
            task = self._loading.get(source.name)
            if task is None:
                task = asyncio.create_task(self._load_into_place(source))
                self._loading[source.name] = task
                task.add_done_callback(lambda _: self._loading.pop(source.name))
            place = await asyncio.shield(task)
        for used in (place.base, place):  # a base counts as used with its adapters, and before them
            if used is not None and used.model.name in self._places:
                self._places.move_to_end(used.model.name)
        return place

    async def _load_into_place(self, source: ModelSource) -> _Place:
        """Load a model, or one anew whose thread has ended, once nobody uses what is left of it."""
        if (dead := self._places.get(source.name)) is not None:
            self._leave(dead)
        for place, leaving in list(self._leaving.items()):
            if place.model.name == source.name and not place.model.is_alive:
                _logger.warning("model is loaded anew", model=source.name)
                await asyncio.shield(leaving)
        if not source.base:
            return await self._load_over(source, None)
        base = await self._sure_place(await self._find(source.base))
        base.num_over += 1
        try:
            return await self._load_over(source, base)
        except BaseException:
            base.num_over -= 1
            raise
        finally:
            await self._tell_waiting()

    async def _load_over(self, source: ModelSource, base: _Place | None) -> _Place:
        async with self._making_room:
            await self._make_room(source.artifact.num_bytes)
            model = await asyncio.to_thread(self._load, source, base.model if base else None)
            place = self._places[source.name] = _Place(model, base)
            await self._make_room(0, keep=place)
            return place

    async def _make_room(self, num_bytes: int, keep: _Place | None = None) -> None:
        """Let go of unused models, least recently used first, until this much more fits."""
        if num_bytes > self._max_bytes:
            raise TooLarge(
                f"the model's {num_bytes:,} bytes are over the limit of {self._max_bytes:,}",
                fix="raise VERMEIL_GENERATOR_MEMORY_BYTES",
            )
        while self._memory() + num_bytes > self._max_bytes:
            idle = self._first_idle(place for place in self._places.values() if place is not keep)
            if idle is not None:
                await self._close(self._places.pop(idle.model.name))
            elif keep is None:
                raise Overloaded("other models are in use and leave no memory", fix="try again shortly")
            else:
                _logger.warning("memory is over the limit", bytes=self._memory(), limit=self._max_bytes)
                return

    def _first_idle(self, places: Iterable[_Place]) -> _Place | None:
        return next((place for place in places if place.is_idle), None)

    def _over(self, base: _Place) -> list[str]:
        return [name for name, place in self._places.items() if place.base is base]

    async def _tell_waiting(self) -> None:
        async with self._left:
            self._left.notify_all()

    def _memory(self) -> int:
        return sum(place.model.memory_bytes for place in (*self._places.values(), *self._leaving))

    async def _close(self, place: _Place) -> None:
        await asyncio.to_thread(place.model.close)
        if place.base is not None:
            place.base.num_over -= 1
            await self._tell_waiting()
        _logger.info("model unloaded", model=place.model.name)
