"""Dynamic batching: calls at the same time become one computation, and each gets its own results."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps

import pytest
from vermeil_errors import InvalidInput
from vermeil_rpc import Batcher


class Doubling:
    """Doubles numbers and remembers what it was given at once."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.going_on = threading.Event()
        self.going_on.set()

    def __call__(self, key: str, items: Sequence[int]) -> list[int]:
        self.batches.append((key, list(items)))
        assert self.going_on.wait(60)
        if 13 in items:
            raise InvalidInput("13 cannot be doubled")
        return [2 * item for item in items]


def in_a_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


@in_a_loop
async def test_calls_at_the_same_time_are_answered_together() -> None:
    work = Doubling()
    batcher = Batcher(work, max_items=64, max_wait=0.05)
    answers = await asyncio.gather(*(batcher.ask("a", [number, number + 1]) for number in range(5)))
    assert answers == [[2 * number, 2 * number + 2] for number in range(5)]
    assert len(work.batches) == 1


@in_a_loop
async def test_a_full_batch_does_not_wait() -> None:
    batcher = Batcher(Doubling(), max_items=2, max_wait=3600)
    async with asyncio.timeout(60):
        assert await batcher.ask("a", [1, 2]) == [2, 4]


@in_a_loop
async def test_a_lone_call_waits_no_longer_than_it_must() -> None:
    batcher = Batcher(Doubling(), max_items=64, max_wait=0.01)
    async with asyncio.timeout(60):
        assert await batcher.ask("a", [1]) == [2]
        assert await batcher.ask("a", [2]) == [4]


@in_a_loop
async def test_what_comes_while_one_is_computed_goes_into_the_next() -> None:
    work = Doubling()
    work.going_on.clear()
    batcher = Batcher(work, max_items=64, max_wait=0.0)
    first = asyncio.create_task(batcher.ask("a", [1]))
    while not work.batches:
        await asyncio.sleep(0.001)
    rest = asyncio.gather(*(batcher.ask("a", [number]) for number in (2, 3, 4)))
    await asyncio.sleep(0)  # until they have asked
    work.going_on.set()
    assert (await first, await rest) == ([2], [[4], [6], [8]])
    assert work.batches == [("a", [1]), ("a", [2, 3, 4])]


@in_a_loop
async def test_different_keys_are_never_mixed() -> None:
    work = Doubling()
    batcher = Batcher(work, max_items=64, max_wait=0.02)
    await asyncio.gather(batcher.ask("a", [1]), batcher.ask("b", [2]))
    assert sorted(work.batches) == [("a", [1]), ("b", [2])]


@in_a_loop
async def test_a_call_larger_than_a_batch_is_computed_in_parts() -> None:
    work = Doubling()
    batcher = Batcher(work, max_items=4, max_wait=0.01)
    assert await batcher.ask("a", range(10)) == [2 * number for number in range(10)]
    assert [len(items) for _, items in work.batches] == [4, 4, 2]


@in_a_loop
async def test_an_error_reaches_all_who_asked_and_nobody_later() -> None:
    batcher = Batcher(Doubling(), max_items=64, max_wait=0.02)
    answers = await asyncio.gather(batcher.ask("a", [13]), batcher.ask("a", [1]), return_exceptions=True)
    assert all(isinstance(answer, InvalidInput) for answer in answers)
    assert await batcher.ask("a", [1]) == [2]


@in_a_loop
async def test_callers_that_went_away_are_not_computed() -> None:
    work = Doubling()
    batcher = Batcher(work, max_items=3, max_wait=3600)
    gone, stays = (asyncio.create_task(batcher.ask("a", [number])) for number in (1, 2))
    await asyncio.sleep(0)  # until they have asked
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert await batcher.ask("a", [3]) == [6]  # the batch is full
    assert await stays == [4]
    assert work.batches == [("a", [2, 3])]
