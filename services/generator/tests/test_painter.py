"""The painter: requests drawn together, given up within a step, refused when too many wait."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import numpy as np
import pytest
from vermeil_errors import Internal, Overloaded, Unavailable
from vermeil_generator.fakes import FakeDrawing
from vermeil_generator.image_order import ImageOrder, Style, Wish
from vermeil_generator.painter import ImageEvent, Painter, Picture, Progress
from vermeil_generator.patience import RETRY_AFTER, Patience


def order(*seeds: int, steps: int = 10, guidance: float = 1.0, num_previews: int = 0) -> ImageOrder:
    wishes = tuple(Wish(None, seed) for seed in seeds)
    return ImageOrder(wishes, Style(steps, guidance, "euler"), num_previews, 0)


@contextmanager
def painter_of(
    drawing: FakeDrawing, *, max_batch: int = 4, max_waiting: int = 8, patience: Patience | None = None
) -> Iterator[Painter]:
    painter = Painter("test", drawing, max_batch, max_waiting, patience or Patience(60))
    try:
        yield painter
    finally:
        drawing.gate.open()
        painter.close()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


async def read(events: AsyncGenerator[ImageEvent, None]) -> list[ImageEvent]:
    return [event async for event in events]


def pictures_of(events: list[ImageEvent]) -> dict[int, int]:
    """The brightness of each finished picture by its index."""
    return {
        event.index: int(event.pixels[0, 0, 0])
        for event in events
        if isinstance(event, Picture) and event.preview is None
    }


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.001)


def test_an_order_is_told_how_far_it_is_and_gets_its_pictures() -> None:
    with painter_of(FakeDrawing()) as painter:
        events = run(read(painter.draw(order(7, 8, 9))))
    progress = [event for event in events if isinstance(event, Progress)]
    assert progress[0] == Progress(0, 30)
    assert progress[-1] == Progress(30, 30)
    assert [each.steps_done for each in progress] == sorted({each.steps_done for each in progress})
    assert pictures_of(events) == {0: 7, 1: 8, 2: 9}
    assert [event.seed for event in events if isinstance(event, Picture)] == [7, 8, 9]


def test_previews_come_at_even_distances_and_never_with_the_end() -> None:
    with painter_of(FakeDrawing()) as painter:
        events = run(read(painter.draw(order(7, 8, num_previews=3))))
    previews = [event for event in events if isinstance(event, Picture) and event.preview is not None]
    assert [(each.index, each.preview) for each in previews] == [
        (0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2),
    ]  # fmt: skip
    assert len(pictures_of(events)) == 2


def test_a_large_order_is_drawn_in_batches() -> None:
    drawing = FakeDrawing()
    with painter_of(drawing, max_batch=3) as painter:
        events = run(read(painter.draw(order(*range(8)))))
    assert drawing.batches == [3, 3, 2]
    assert pictures_of(events) == {seed: seed for seed in range(8)}
    assert events[-1] != Progress(80, 80)


def test_orders_of_one_style_that_wait_together_are_drawn_together() -> None:
    drawing = FakeDrawing()

    async def ask() -> list[list[ImageEvent]]:
        with painter_of(drawing) as painter:
            drawing.gate.close()
            first = asyncio.create_task(read(painter.draw(order(1))))
            await until(lambda: drawing.batches == [1])
            others = [
                asyncio.create_task(read(painter.draw(each)))
                for each in (order(2, 3), order(4, guidance=3.0), order(5))
            ]
            await until(lambda: painter.num_active == 5)
            drawing.gate.open()
            return [await task for task in (first, *others)]

    told = run(ask())
    assert drawing.batches == [1, 3, 1], "the one of another guidance is drawn alone"
    assert [pictures_of(events) for events in told] == [{0: 1}, {0: 2, 1: 3}, {0: 4}, {0: 5}]


def test_who_leaves_alone_stops_the_batch_within_one_step() -> None:
    drawing = FakeDrawing()

    async def leave() -> None:
        with painter_of(drawing) as painter:
            async with aclosing(painter.draw(order(1, 2, steps=100_000))) as events:
                async for event in events:
                    if isinstance(event, Progress) and event.steps_done:
                        break
            looks = drawing.num_looks
            await until(lambda: painter.num_active == 0)
            assert drawing.num_looks <= looks + 2 * 2, "the step under way and at most one more"
            assert pictures_of(await read(painter.draw(order(3)))) == {0: 3}

    run(leave())


def test_who_leaves_company_is_not_drawn_any_more() -> None:
    drawing = FakeDrawing()

    async def leave() -> dict[int, int]:
        with painter_of(drawing) as painter:
            drawing.gate.close()
            blocker = asyncio.create_task(read(painter.draw(order(0, steps=1))))
            await until(lambda: drawing.batches == [1])
            staying = asyncio.create_task(read(painter.draw(order(1, steps=20))))
            leaving = asyncio.create_task(read(painter.draw(order(2, 3, 4, steps=20))))
            await until(lambda: painter.num_active == 5)
            drawing.gate.let(1 + 5)
            await blocker
            await until(lambda: drawing.num_looks == 1 + 4 * 6 and drawing.gate.holds)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            drawing.gate.open()
            return pictures_of(await staying)

    assert run(leave()) == {0: 1}
    assert drawing.batches == [1, 4]
    assert drawing.num_looks == 1 + 4 * 6 + 14, "the step under way is the last that all are in"


def test_who_leaves_the_queue_is_never_drawn() -> None:
    drawing = FakeDrawing()

    async def leave() -> None:
        with painter_of(drawing) as painter:
            drawing.gate.close()
            first = asyncio.create_task(read(painter.draw(order(1))))
            await until(lambda: drawing.batches == [1])
            waiting = asyncio.create_task(read(painter.draw(order(2, 3))))
            await until(lambda: painter.num_active == 3)
            waiting.cancel()
            await until(lambda: painter.num_active == 1)
            drawing.gate.open()
            await first

    run(leave())
    assert drawing.batches == [1]


def test_too_many_pictures_are_told_to_come_again() -> None:
    drawing = FakeDrawing()

    async def crowd() -> None:
        with painter_of(drawing, max_waiting=4) as painter:
            drawing.gate.close()
            first = asyncio.create_task(read(painter.draw(order(1))))
            await until(lambda: drawing.batches == [1])
            second = asyncio.create_task(read(painter.draw(order(*range(4)))))
            await until(lambda: painter.num_active == 5)
            with pytest.raises(Overloaded, match="1 pictures are being drawn and 4 wait"):
                await read(painter.draw(order(9)))
            drawing.gate.open()
            await asyncio.gather(first, second)
            assert pictures_of(await read(painter.draw(order(9)))) == {0: 9}

    run(crowd())


def test_who_would_wait_too_long_for_batches_before_theirs_is_told_when_to_come_again() -> None:
    drawing = FakeDrawing()
    now = 0.0

    async def crowd() -> None:
        nonlocal now
        with painter_of(drawing, max_batch=2, patience=Patience(5, lambda: now)) as painter:
            drawing.gate.close()
            first = asyncio.create_task(read(painter.draw(order(1, 2))))
            await until(lambda: drawing.batches == [2])
            now = 4.0
            second = asyncio.create_task(read(painter.draw(order(3))))  # in the next batch: may always wait
            third = asyncio.create_task(read(painter.draw(order(4))))
            await until(lambda: painter.num_active == 4)
            with pytest.raises(Overloaded, match="2 wait: one more would wait about 8 s") as refused:
                await read(painter.draw(order(5)))
            assert refused.value.metadata[RETRY_AFTER] == "3"
            with pytest.raises(Overloaded, match="about 8 s"):
                await read(painter.draw(order(5, steps=9)))  # another kind of batch waits for that one too
            drawing.gate.open()
            await asyncio.gather(first, second, third)
            assert pictures_of(await read(painter.draw(order(9)))) == {0: 9}

    run(crowd())


def test_a_broken_batch_fails_its_orders_and_nobody_else() -> None:
    drawing = FakeDrawing()

    async def ask() -> dict[int, int]:
        with painter_of(drawing) as painter:
            drawing.error = RuntimeError("out of paint")
            with pytest.raises(Internal, match="out of paint"):
                await read(painter.draw(order(1, 2)))
            return pictures_of(await read(painter.draw(order(3))))

    assert run(ask()) == {0: 3}


def test_closing_ends_what_is_drawn_and_what_waits() -> None:
    drawing = FakeDrawing()

    async def close() -> None:
        with painter_of(drawing, max_batch=1) as painter:
            orders = [asyncio.create_task(read(painter.draw(order(n, steps=100_000)))) for n in (1, 2)]
            await until(lambda: drawing.num_looks > 3)
            await asyncio.to_thread(painter.close)
            assert not painter.is_alive
            for each in await asyncio.gather(*orders, return_exceptions=True):
                assert isinstance(each, Unavailable)
            with pytest.raises(Unavailable):
                await read(painter.draw(order(3)))

    run(close())


def test_pixels_are_those_of_the_network() -> None:
    with painter_of(FakeDrawing()) as painter:
        events = run(read(painter.draw(order(200))))
    (picture,) = (event for event in events if isinstance(event, Picture))
    assert picture.pixels.shape == (8, 8, 3)
    assert np.all(picture.pixels == 200)
