"""What breaks in an engine: one answer alone where it is its own fault, and nobody is left waiting."""

import asyncio
import threading
from dataclasses import replace
from itertools import pairwise
from typing import Any
from weakref import ReferenceType, ref

import pytest
import torch
from vermeil_errors import Internal, InvalidInput, Overloaded, Unavailable, VermeilError
from vermeil_generator.engine import Engine
from vermeil_generator.fakes import FakeDecoder
from vermeil_generator.patience import Patience
from vermeil_generator.piece import Finish
from vermeil_generator.question import Prompt, Question
from vermeil_model import BrokenEvent, Conversations, Markers, SamplingParameters, TokenScore
from vermeil_model.testing import small_fused, small_images
from vermeil_telemetry import gauge

from .asking import LONG, Words, all_of, engine_of, question, read, run, until


class Numbers(Words):
    """A vocabulary of any size."""

    def add(self, token_id: int) -> str:
        return f" {token_id}"

    def stream(self) -> Words:
        return Numbers()


def test_a_broken_step_ends_its_answers_and_the_engine_goes_on() -> None:
    async def break_and_ask() -> Any:
        decoders = [FakeDecoder({7: LONG}), FakeDecoder({7: [1, 0]})]
        made = iter(decoders)
        engine = Engine("test", lambda: next(made), lambda ids, top: [], Words(), 8, Patience(60))
        try:
            pieces = engine.answer(question(7))
            await anext(pieces)
            decoders[0].error = RuntimeError("out of memory")
            with pytest.raises(Internal, match="out of memory"):
                await all_of(pieces)
            return await read(engine.answer(question(7)))
        finally:
            engine.close()

    assert run(break_and_ask()) == {0: ("one", Finish.STOP, 2)}


def test_a_broken_step_leaves_nothing_in_the_decoder_it_broke() -> None:
    async def break_it() -> list[int]:
        decoders = [FakeDecoder({7: LONG}), FakeDecoder({})]
        made = iter(decoders)
        engine = Engine("test", lambda: next(made), None, Words(), 8, Patience(60))
        try:
            pieces = engine.answer(question(7, num_choices=2))
            await anext(pieces)
            decoders[0].error = RuntimeError("out of memory")
            with pytest.raises(Internal):
                await all_of(pieces)
            await until(lambda: not decoders[0].sequences)
        finally:
            engine.close()
        return list(decoders[0].sequences)

    assert run(break_it()) == []


def test_nobody_waits_for_an_engine_that_cannot_begin_anew() -> None:
    async def break_and_ask() -> bool:
        decoder = FakeDecoder({7: LONG})
        made = iter([decoder])
        engine = Engine("test", lambda: next(made), None, Words(), 8, Patience(60))
        try:
            pieces = engine.answer(question(7))
            await anext(pieces)
            decoder.error = RuntimeError("out of memory")
            with pytest.raises(Internal):
                await all_of(pieces)
            with pytest.raises(Unavailable):
                await all_of(engine.answer(question(7)))
        finally:
            engine.close()
        return engine.is_alive

    assert run(break_and_ask()) is False


def test_an_answer_that_cannot_be_told_fails_alone() -> None:
    async def ask() -> str:
        with engine_of(FakeDecoder({7: LONG, 8: [99, 0]})) as engine:  # there is no word 99
            other = engine.answer(question(7))
            await anext(other)
            with pytest.raises(Internal, match="telling the answer failed"):
                await all_of(engine.answer(question(8)))
            said = await anext(other)
            await other.aclose()
            return said.text

    assert run(ask()).startswith(" two")


@pytest.mark.parametrize(
    ("raised", "told", "words"),
    [
        (RuntimeError("no kernel"), Internal, "no kernel"),
        (MemoryError("no room"), Overloaded, "memory ran out while this was being answered; try again"),
        (torch.OutOfMemoryError("no room"), Overloaded, "memory ran out"),
        (InvalidInput("is too long", field="prompt"), InvalidInput, "is too long"),
    ],
)
def test_an_answer_that_breaks_off_fails_alone_and_says_whether_to_ask_again(
    raised: Exception, told: type[VermeilError], words: str
) -> None:
    class Clumsy(FakeDecoder):
        def step(self) -> list[Any]:
            events = super().step()
            broken = [number for number in self.sequences if self._requests[number].prompt[0] == 8]
            for number in broken:
                self.remove(number)
            return [*events, *(BrokenEvent(raised, number) for number in broken)]

    async def ask() -> str:
        with engine_of(Clumsy({7: LONG, 8: LONG})) as engine:
            other = engine.answer(question(7))
            await anext(other)
            with pytest.raises(told, match=words):
                await all_of(engine.answer(question(8)))
            said = await anext(other)
            await other.aclose()
            return said.text

    assert run(ask()).startswith(" two")


def test_a_picture_that_cannot_be_read_fails_alone_and_others_say_what_they_would_have_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, gate = small_fused(), threading.Event()
    large = torch.full((3, 12, 8), 200, dtype=torch.uint8)
    read_picture = model.read_picture

    def reads(memory: Any, images_BCHW: torch.Tensor) -> None:
        read_picture(memory, images_BCHW)
        if images_BCHW.unique().numel() == 1:  # the large one
            raise RuntimeError("no kernel for so large a picture")

    monkeypatch.setattr(model, "read_picture", reads)

    class Gated(Conversations):
        def step(self) -> list[Any]:
            gate.wait()
            return super().step()

    def shown(picture_CHW: torch.Tensor) -> Question:
        prompt = Prompt((1, 58, 59, 4), 0, "?", (picture_CHW,), patches_each=6)
        return question(1, prompt=prompt, parameters=SamplingParameters(temperature=0, max_tokens=9))

    async def ask(*pictures: torch.Tensor) -> list[Any]:
        """All at once."""
        gate.clear()
        engine = Engine("test", lambda: Gated(model, Markers(58, 59)), None, Numbers(), 8, Patience(60))
        try:
            asked = [asyncio.create_task(read(engine.answer(shown(picture)))) for picture in pictures]
            await until(lambda: engine.num_active == len(pictures))
            gate.set()
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            gate.set()
            engine.close()

    one, other = ((picture_CHW * 127 + 128).byte() for picture_CHW in small_images(2))
    alone = [*run(ask(one)), *run(ask(other))]
    first, failed, last = run(ask(one, large, other))
    assert [first, last] == alone
    assert all(finish is Finish.LENGTH for _, finish, _ in (first[0], last[0]))
    assert isinstance(failed, Internal)
    assert "no kernel for so large a picture" in str(failed)


def test_a_question_that_the_decoder_refuses_fails_alone() -> None:
    class Choosy(FakeDecoder):
        def add(self, requests: Any) -> list[int]:
            if any(request.prompt[0] == 8 for request in requests):
                raise InvalidInput("is no token of the model", field="prompt")
            return super().add(requests)

    async def ask() -> str:
        with engine_of(Choosy({7: LONG})) as engine:
            other = engine.answer(question(7))
            await anext(other)
            with pytest.raises(InvalidInput, match="no token"):
                await all_of(engine.answer(question(8)))
            said = await anext(other)
            await other.aclose()
            return said.text

    assert run(ask()).startswith(" two")


def test_what_comes_in_the_same_step_after_an_answer_has_ended_harms_nobody() -> None:
    class Hasty(FakeDecoder):
        def step(self) -> list[Any]:
            return [each for event in super().step() for each in (event, event)]

    async def ask() -> Finish | None:
        decoder = Hasty({7: [1, *[2] * 50, 0], 8: [6, *LONG]})
        with engine_of(decoder) as engine:
            decoder.gate.close()
            other = asyncio.create_task(all_of(engine.answer(question(7))))
            stopped = asyncio.create_task(all_of(engine.answer(question(8, stop=("STOP",)))))
            await until(lambda: engine.num_active == 2)
            decoder.gate.open()
            await stopped
            return (await other)[-1].finish

    assert run(ask()) is Finish.STOP


def test_those_who_write_have_a_turn_between_two_prompts_that_are_judged() -> None:
    decoder = FakeDecoder({7: LONG})
    steps_before: list[int] = []

    def judge(ids: Any, top: int, adapter: Any) -> list[TokenScore]:
        steps_before.append(decoder.num_steps)
        return [TokenScore(ids[0], None, ())]

    async def ask() -> None:
        with engine_of(decoder, score=judge, max_waiting=20) as engine:
            writing = engine.answer(question(7))
            await anext(writing)
            decoder.gate.close()  # so that all come at once
            asked = question(1, echo=True, num_logprobs=0, parameters=None)
            judged = [asyncio.create_task(all_of(engine.answer(replace(asked)))) for _ in range(8)]
            await until(lambda: engine.num_active + len(steps_before) == 9)
            decoder.gate.open()
            await asyncio.gather(*judged)
            await writing.aclose()

    run(ask())
    assert all(later > earlier for earlier, later in pairwise(steps_before))


def test_an_engine_that_is_closed_counts_no_active_answers() -> None:
    async def close() -> None:
        decoder = FakeDecoder({7: LONG})
        engine = Engine("closed", lambda: decoder, None, Words(), 8, Patience(60))
        pieces = engine.answer(question(7))
        await anext(pieces)
        await anext(pieces)
        await asyncio.to_thread(engine.close)
        await pieces.aclose()

    run(close())
    (metric,) = gauge("generator_active", "").collect()
    assert [sample.value for sample in metric.samples if sample.labels == {"model": "closed"}] == [0]


def test_a_prompt_that_cannot_be_scored_fails_alone() -> None:
    def fails(ids: Any, top: int, adapter: Any) -> list[TokenScore]:
        raise RuntimeError("no memory for that")

    async def ask() -> Any:
        decoder = FakeDecoder({7: LONG, 8: [1, 0]})
        with engine_of(decoder, score=fails) as engine:
            other = engine.answer(question(7))
            await anext(other)
            with pytest.raises(Internal, match="no memory"):
                await all_of(engine.answer(question(8, echo=True, num_logprobs=1)))
            said = await anext(other)
            await other.aclose()
            return said.text

    assert run(ask()).startswith(" two")


def test_what_was_judged_is_kept_no_longer_than_an_answer_waits_for_it() -> None:
    class Scores(list[TokenScore]):
        """What can be watched."""

    made: list[ReferenceType[Scores]] = []

    def judge(ids: Any, top: int, adapter: Any) -> list[TokenScore]:
        scores = Scores([TokenScore(1, None, ())])
        made.append(ref(scores))
        return scores

    async def ask() -> None:
        with engine_of(FakeDecoder({7: [1, 0], 8: LONG}, num_slots=1), score=judge) as engine:
            asked = question(7, num_choices=3, echo=True, num_logprobs=0)
            assert len(await read(engine.answer(asked))) == 3
            leaving = engine.answer(question(8, num_choices=2, echo=True, num_logprobs=0))
            await anext(leaving)
            assert made[1]() is not None
            await leaving.aclose()
            await until(lambda: made[1]() is None)

    run(ask())
    assert [each() for each in made] == [None, None]


def test_closing_ends_answers_with_unavailable() -> None:
    async def close() -> None:
        decoder = FakeDecoder({7: LONG})
        engine = Engine("test", lambda: decoder, lambda ids, top: [], Words(), 8, Patience(60))
        pieces = engine.answer(question(7))
        await anext(pieces)
        await asyncio.to_thread(engine.close)
        with pytest.raises(Unavailable):
            await all_of(pieces)
        with pytest.raises(Unavailable):
            await anext(engine.answer(question(7)))
        assert not engine.is_alive

    run(close())
