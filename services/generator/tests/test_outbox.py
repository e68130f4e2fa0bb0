"""Pieces on their way: together where that saves messages, at once where somebody waits."""

import asyncio

import numpy as np
import pytest
from vermeil_generator.outbox import MAX_SECONDS, Outbox, Reader
from vermeil_generator.piece import Finish, Piece


class Clock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def received(reader: Reader) -> list[Piece | Exception]:
    await asyncio.sleep(0)
    return [reader.queue.get_nowait() for _ in range(reader.queue.qsize())]


def test_the_first_piece_never_waits_and_the_next_come_together(clock: Clock) -> None:
    async def write() -> None:
        outbox, reader = Outbox(clock), Reader()
        outbox.put(reader, 0, Piece(0, "a"))
        outbox.hand_over(10)
        assert await received(reader) == [Piece(0, "a")]
        for text in "bcd":
            outbox.put(reader, 0, Piece(0, text))
            clock.now += 0.02
            outbox.hand_over(10)
        assert await received(reader) == [Piece(0, "bcd")]

    asyncio.run(write())


def test_the_last_piece_brings_all_that_waits(clock: Clock) -> None:
    async def write() -> None:
        outbox, reader, other = Outbox(clock), Reader(), Reader()
        for each in (reader, other):
            outbox.put(each, 0, Piece(0, "a"))
        outbox.hand_over(10)
        await received(reader)
        await received(other)
        for each in (reader, other):
            outbox.put(each, 0, Piece(0, "b"))
        outbox.put(reader, 0, Piece(0, "c", finish=Finish.STOP, num_tokens=3))
        outbox.hand_over(10)
        assert await received(reader) == [Piece(0, "bc", (), Finish.STOP, 3)]
        assert await received(other) == []

    asyncio.run(write())


def test_choices_stay_apart_and_errors_come_at_once(clock: Clock) -> None:
    async def write() -> None:
        outbox, reader = Outbox(clock), Reader()
        outbox.put(reader, 0, Piece(0, "a"))
        outbox.put(reader, 1, Piece(1, "x"))
        outbox.hand_over(2)
        assert await received(reader) == [Piece(0, "a"), Piece(1, "x")]
        error = RuntimeError("broken")
        outbox.put(reader, 0, error)
        outbox.hand_over(2)
        assert await received(reader) == [error]

    asyncio.run(write())


def test_with_one_answer_every_slow_step_is_told_at_once(clock: Clock) -> None:
    async def write() -> list[list[Piece | Exception]]:
        outbox, reader, told = Outbox(clock), Reader(), []
        for text in "abc":
            clock.now += 0.006
            outbox.put(reader, 0, Piece(0, text))
            outbox.hand_over(1)
            told.append(await received(reader))
        return told

    assert asyncio.run(write()) == [[Piece(0, text)] for text in "abc"]


def test_however_many_answers_there_are_no_piece_waits_for_ever(clock: Clock) -> None:
    async def write() -> list[Piece | Exception]:
        outbox, reader = Outbox(clock), Reader()
        outbox.put(reader, 0, Piece(0, "a"))
        outbox.hand_over(1000)
        await received(reader)
        outbox.put(reader, 0, Piece(0, "b"))
        clock.now += MAX_SECONDS
        outbox.hand_over(1000)
        return await received(reader)

    assert asyncio.run(write()) == [Piece(0, "b")]


def test_a_picture_never_waits_and_stays_between_its_texts(clock: Clock) -> None:
    async def write() -> None:
        outbox, reader = Outbox(clock), Reader()
        outbox.put(reader, 0, Piece(0, "a"))
        outbox.hand_over(1000)
        await received(reader)
        picture = np.zeros((2, 2, 3), np.uint8)
        for piece in (Piece(0, "b"), Piece(0, "c"), Piece(0, picture=picture), Piece(0, "d"), Piece(0, "e")):
            outbox.put(reader, 0, piece)
        outbox.hand_over(1000)
        told = await received(reader)
        assert told == [Piece(0, "bc"), Piece(0), Piece(0, "de")]
        assert isinstance(told[1], Piece)
        assert told[1].picture is picture

    asyncio.run(write())
