"""The engine: several answers at once, cancelled within a step, refused when too many wait."""

import asyncio
from typing import Any

import pytest
from vermeil_errors import Overloaded
from vermeil_generator.fakes import Drawn, FakeDecoder
from vermeil_generator.patience import RETRY_AFTER, Patience
from vermeil_generator.piece import Finish
from vermeil_model import SamplingParameters

from .asking import LONG, all_of, engine_of, question, read, run, until


def test_an_answer_comes_piece_by_piece_and_ends_where_the_model_ends_it() -> None:
    with engine_of(FakeDecoder({7: [1, 2, 3, 0]})) as engine:
        pieces = run(all_of(engine.answer(question(7))))
    assert pieces[0].text == "one"
    assert "".join(piece.text for piece in pieces) == "one two three"
    assert [piece.finish for piece in pieces] == [None] * (len(pieces) - 1) + [Finish.STOP]
    assert pieces[-1].num_tokens == 4


def test_more_answers_than_places_all_come() -> None:
    async def ask_many() -> list[Any]:
        with engine_of(FakeDecoder({7: [1, 2, 0], 8: [3, 4, 0]}, num_slots=2), max_waiting=100) as engine:
            asked = [read(engine.answer(question(7 + number % 2))) for number in range(20)]
            return await asyncio.gather(*asked)

    answers = run(ask_many())
    assert [answer[0][0] for answer in answers] == ["one two", " three four"] * 10


def test_choices_of_one_question_are_answers_of_their_own() -> None:
    with engine_of(FakeDecoder({7: [1, 2, 0]}, num_slots=2)) as engine:
        answer = run(read(engine.answer(question(7, num_choices=3))))
    assert answer == dict.fromkeys(range(3), ("one two", Finish.STOP, 3))


def test_each_choice_draws_from_its_own_seed() -> None:
    asked = question(7, num_choices=2, parameters=SamplingParameters(seed=5))
    assert [asked.parameters_of(choice).seed for choice in range(2)] == [5, 6]
    free = question(7, parameters=SamplingParameters(seed=None))
    assert free.parameters_of(1).seed is None


def test_a_stop_string_ends_an_answer_and_frees_its_place() -> None:
    async def ask() -> Any:
        decoder = FakeDecoder({7: [1, 6, *[2] * 10_000]}, num_slots=1)
        with engine_of(decoder) as engine:
            answer = await read(engine.answer(question(7, stop=("eST",))))
            await until(lambda: decoder.num_free == 1)
            return answer, decoder.num_steps

    answer, num_steps = run(ask())
    assert answer == {0: ("on", Finish.STOP, 2)}
    assert num_steps == 2


def test_a_picture_comes_where_it_was_drawn_and_after_all_text_before_it() -> None:
    # " three" could be the beginning of the stop string, but none goes through a picture.
    decoder = FakeDecoder({7: [1, 3, Drawn(9), 2, 0]})
    with engine_of(decoder) as engine:
        pieces = run(all_of(engine.answer(question(7, stop=(" three four",)))))
    told = [piece.text if piece.picture is None else int(piece.picture[0, 0, 0]) for piece in pieces]
    assert [each for each in told if each != ""] == ["one", " three", 9, " two"]
    assert pieces[-1].finish is Finish.STOP


def test_after_a_stop_string_no_picture_comes() -> None:
    decoder = FakeDecoder({7: [1, 6, Drawn(9), *[2] * 10_000]})
    with engine_of(decoder) as engine:
        pieces = run(all_of(engine.answer(question(7, stop=("STOP",)))))
    assert [piece.picture for piece in pieces] == [None] * len(pieces)


def test_max_tokens_ends_an_answer_with_length() -> None:
    with engine_of(FakeDecoder({7: LONG})) as engine:
        assert run(read(engine.answer(question(7, max_tokens=3)))) == {0: ("one two two", Finish.LENGTH, 3)}


def test_no_tokens_wanted_needs_no_place() -> None:
    decoder = FakeDecoder({}, num_slots=1)
    with engine_of(decoder) as engine:
        pieces = run(all_of(engine.answer(question(7, parameters=None, echo=True))))
    assert [(piece.text, piece.finish) for piece in pieces] == [("?", Finish.LENGTH)]
    assert decoder.num_steps == 0


def test_a_reader_who_leaves_frees_the_place_within_one_step() -> None:
    async def leave() -> tuple[int, int]:
        decoder = FakeDecoder({7: LONG}, num_slots=1)
        with engine_of(decoder) as engine:
            pieces = engine.answer(question(7))
            await anext(pieces)
            decoder.gate.close()
            await until(lambda: decoder.gate.holds)
            before = decoder.num_steps
            await pieces.aclose()
            decoder.gate.open()
            await until(lambda: decoder.num_free == 1)
            return before, decoder.num_steps

    before, after = run(leave())
    assert after - before <= 1


def test_a_cancelled_task_frees_the_place_too() -> None:
    async def leave() -> int:
        decoder = FakeDecoder({7: LONG}, num_slots=2)
        with engine_of(decoder) as engine:
            task = asyncio.create_task(read(engine.answer(question(7, num_choices=2))))
            await until(lambda: decoder.num_free == 0)
            task.cancel()
            await until(lambda: decoder.num_free == 2)
            return engine.num_active

    assert run(leave()) == 0


def test_a_reader_who_leaves_while_waiting_never_gets_a_place() -> None:
    async def leave() -> Any:
        decoder = FakeDecoder({7: LONG, 8: [1, 0]}, num_slots=1)
        with engine_of(decoder) as engine:
            first = engine.answer(question(7))
            await anext(first)
            waiting = asyncio.create_task(read(engine.answer(question(7))))
            await until(lambda: engine.num_active == 2)
            waiting.cancel()
            await until(lambda: engine.num_active == 1)
            last = asyncio.create_task(read(engine.answer(question(8))))
            await until(lambda: engine.num_active == 2)
            await first.aclose()
            return await last

    assert run(leave()) == {0: ("one", Finish.STOP, 2)}


def test_too_many_waiting_answers_are_told_to_come_again() -> None:
    async def crowd() -> None:
        decoder = FakeDecoder({7: LONG}, num_slots=1)
        with engine_of(decoder, max_waiting=2) as engine:
            first = engine.answer(question(7))
            await anext(first)
            waiting = asyncio.create_task(all_of(engine.answer(question(7, num_choices=2))))
            await until(lambda: engine.num_active == 3)
            with pytest.raises(Overloaded) as refused:
                await anext(engine.answer(question(7)))
            assert refused.value.retryable
            waiting.cancel()
            await first.aclose()

    run(crowd())


def test_a_place_is_taken_also_while_the_network_reads() -> None:
    class Reading(FakeDecoder):
        """In the middle of a step it knows nothing of whom it reads."""

        @property
        def num_free(self) -> int:
            return self._num_slots if self.gate.holds else super().num_free

    async def crowd() -> None:
        decoder = Reading({7: LONG}, num_slots=1)
        with engine_of(decoder, max_waiting=0) as engine:
            decoder.gate.close()
            first = asyncio.create_task(all_of(engine.answer(question(7))))
            await until(lambda: decoder.gate.holds)
            with pytest.raises(Overloaded, match="1 answers are being written and 0 wait"):
                await anext(engine.answer(question(7)))
            first.cancel()

    run(crowd())


def test_who_would_wait_too_long_by_what_answers_lately_took_is_told_when_to_come_again() -> None:
    now = 0.0

    async def crowd() -> None:
        nonlocal now
        decoder = FakeDecoder({7: LONG, 8: [1, 0]}, num_slots=2)
        with engine_of(decoder, max_waiting=100, patience=Patience(5, lambda: now)) as engine:
            decoder.gate.close()
            first = asyncio.create_task(read(engine.answer(question(8))))
            await until(lambda: decoder.gate.holds)
            now = 4.0
            decoder.gate.open()
            await first
            running = engine.answer(question(7, num_choices=2))  # answers take 4 s here, in two places
            await anext(running)
            waiting = [asyncio.create_task(all_of(engine.answer(question(7)))) for _ in range(2)]
            await until(lambda: engine.num_active == 4)
            with pytest.raises(Overloaded, match="2 wait: one more would wait about 6 s") as refused:
                await anext(engine.answer(question(7)))
            assert refused.value.metadata[RETRY_AFTER] == "1"
            now = 14.0  # those under way take longer than any before them
            with pytest.raises(Overloaded, match="about 15 s") as refused:
                await anext(engine.answer(question(7)))
            assert refused.value.metadata[RETRY_AFTER] == "10"
            for each in waiting:
                each.cancel()
            await until(lambda: engine.num_active == 2)
            next_in_line = asyncio.create_task(all_of(engine.answer(question(7))))
            await until(lambda: engine.num_active == 3)
            next_in_line.cancel()
            await running.aclose()

    run(crowd())


def test_the_many_answers_of_one_question_are_not_refused_for_each_other() -> None:
    async def ask() -> Any:
        with engine_of(FakeDecoder({8: [1, 0]}, num_slots=1), patience=Patience(0)) as engine:
            for _ in range(2):
                answer = await read(engine.answer(question(8, num_choices=6)))
            return answer

    assert len(run(ask())) == 6


def test_readers_in_two_event_loops_are_both_served() -> None:
    with engine_of(FakeDecoder({7: [1, 2, 0]})) as engine:

        async def from_two_threads() -> list[Any]:
            other = asyncio.to_thread(lambda: run(read(engine.answer(question(7)))))
            return await asyncio.gather(other, read(engine.answer(question(7))))

        assert run(from_two_threads()) == [{0: ("one two", Finish.STOP, 3)}] * 2
