"""Batcher: calls that come at the same time are answered together.

The first call opens a batch, which is closed when it is full or its time is up; what comes while one is
computed waits for the next. One batch is computed at a time, in a thread of its own.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class _Call(Generic[ItemT, ResultT]):
    items: Sequence[ItemT]
    answer: "asyncio.Future[list[ResultT]]"


class Batcher(Generic[KeyT, ItemT, ResultT]):
    """Puts calls with the same key together.

    Args:
        work: Results of items, one each, in order; called in a thread.
        max_items: Items that are computed at once; a larger call is computed in parts.
        max_wait: Seconds that a call waits at most for others, when nothing is being computed.
    """

    def __init__(
        self,
        work: Callable[[KeyT, Sequence[ItemT]], Sequence[ResultT]],
        *,
        max_items: int,
        max_wait: float,
    ) -> None:
        self._work = work
        self._max_items, self._max_wait = max_items, max_wait
        self._waiting: dict[KeyT, deque[_Call[ItemT, ResultT]]] = {}
        self._full: dict[KeyT, asyncio.Event] = {}
        self._runners: dict[KeyT, asyncio.Task[None]] = {}
        self._computing = asyncio.Lock()

    async def ask(self, key: KeyT, items: Sequence[ItemT]) -> list[ResultT]:
        """The results of these items; an error of the work is raised in every call of its batch."""
        answer: asyncio.Future[list[ResultT]] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(key, deque())
        waiting.append(_Call(items, answer))
        full = self._full.setdefault(key, asyncio.Event())
        if sum(len(call.items) for call in waiting) >= self._max_items:
            full.set()
        if key not in self._runners:
            self._runners[key] = asyncio.create_task(self._run(key, waiting, full))
        return await answer

    async def _run(self, key: KeyT, waiting: deque[_Call[ItemT, ResultT]], full: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._max_wait):
                await full.wait()
        except TimeoutError:
            pass
        try:
            while waiting:
                async with self._computing:
                    await self._answer(key, self._next(waiting))
        finally:
            for mapping in (self._runners, self._waiting, self._full):
                mapping.pop(key, None)

    def _next(self, waiting: deque[_Call[ItemT, ResultT]]) -> list[_Call[ItemT, ResultT]]:
        """As many calls as fit, at least one; callers that have gone away are left out."""
        batch: list[_Call[ItemT, ResultT]] = []
        num_items = 0
        while waiting and (not batch or num_items + len(waiting[0].items) <= self._max_items):
            call = waiting.popleft()
            if not call.answer.done():
                batch.append(call)
                num_items += len(call.items)
        return batch

    async def _answer(self, key: KeyT, batch: list[_Call[ItemT, ResultT]]) -> None:
        items = [item for call in batch for item in call.items]
        try:
            results = await asyncio.to_thread(self._compute, key, items)
        except Exception as error:  # it belongs to those who asked
            for call in batch:
                if not call.answer.done():
                    call.answer.set_exception(error)
            return
        start = 0
        for call in batch:
            end = start + len(call.items)
            if not call.answer.done():
                call.answer.set_result(results[start:end])
            start = end

    def _compute(self, key: KeyT, items: list[ItemT]) -> list[ResultT]:
        return [
            result
            for start in range(0, len(items), self._max_items)
            for result in self._work(key, items[start : start + self._max_items])
        ]
