"""Answers over real gRPC are those of the model itself."""

import asyncio

import pytest
from vermeil.content.v1.content_pb2 import Message, Part, Role
from vermeil.generation.v1.generation_pb2 import Conversation, FinishReason, Sampling, TokenIds
from vermeil.generation.v1.generation_service_pb2 import (
    GenerateResponse,
)
from vermeil_generator.fakes import tiny_tokenizer
from vermeil_generator.testing import CONTEXT, House, run, running, text_of
from vermeil_model import generate as generate_directly
from vermeil_model import load_checkpoint, score
from vermeil_model.prefix_pool import BLOCK
from vermeil_model.sampling import SamplingParameters

TOKENIZER = tiny_tokenizer()
ENDLESS = Sampling(max_tokens=1000, logit_bias=dict.fromkeys(TOKENIZER.stop_ids, -100.0))


def test_a_greedy_answer_is_what_the_model_says_without_any_service(house: House) -> None:
    async def ask() -> list[GenerateResponse]:
        async with running(house) as generator:
            return await generator.ask(prompt="to be", sampling=Sampling(temperature=0, max_tokens=20))

    pieces = run(ask())
    prompt = TOKENIZER.encode("to be", add_bos=True)
    parameters = SamplingParameters(temperature=0, max_tokens=20, stop_ids=TOKENIZER.stop_ids)
    events = list(generate_directly(load_checkpoint(house.folder), [prompt], parameters))
    assert text_of(pieces) == TOKENIZER.decode([event.token for event in events])
    assert pieces[0].model == "models/tiny/versions/1"
    assert not any(piece.model for piece in pieces[1:])
    assert [piece.HasField("usage") for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].usage.prompt_tokens == len(prompt)
    assert pieces[-1].usage.completion_tokens == len(events)
    expected = {"stop": FinishReason.FINISH_REASON_STOP, "length": FinishReason.FINISH_REASON_LENGTH}
    assert pieces[-1].finish_reason == expected[events[-1].finish_reason]


def test_the_same_seed_gives_the_same_answer_in_any_company(house: House) -> None:
    async def ask() -> tuple[list[str], list[str]]:
        async with running(house, generator_slots=5) as generator:

            async def one(seed: int) -> str:
                sampling = Sampling(seed=seed, max_tokens=5 + seed)
                return text_of(await generator.ask(prompt="be " * (seed + 1), sampling=sampling))

            alone = [await one(seed) for seed in range(12)]
            together = await asyncio.gather(*(one(seed) for seed in range(12)))
            return alone, list(together)

    alone, together = run(ask())
    assert alone == together
    assert len(set(alone)) == 12


def test_what_begins_alike_is_read_once_and_told(house: House) -> None:
    async def ask() -> list[int]:
        async with running(house) as generator:
            sampling = Sampling(temperature=0, max_tokens=3)
            cached = []
            for prompt in ("be " * 40 + "or", "be " * 40 + "not", "or " * 40):
                pieces = await generator.ask(prompt=prompt, sampling=sampling, num_choices=2)
                cached.append(pieces[-1].usage.cached_prompt_tokens)
            return cached

    first, second, other = run(ask())
    assert (first, other) == (0, 0)
    assert 0 < second <= len(TOKENIZER.encode("be " * 40, add_bos=True))
    assert second % BLOCK == 0


def test_choices_differ_and_the_first_is_that_of_one_choice(house: House) -> None:
    async def ask() -> tuple[list[GenerateResponse], list[GenerateResponse]]:
        async with running(house) as generator:
            sampling = Sampling(seed=3, max_tokens=12)
            three = await generator.ask(prompt="to", sampling=sampling, num_choices=3)
            return three, await generator.ask(prompt="to", sampling=sampling)

    three, one = run(ask())
    assert len({text_of(three, choice) for choice in range(3)}) == 3
    assert text_of(three) == text_of(one)
    assert sum(piece.HasField("usage") for piece in three) == 1
    assert three[-1].usage.prompt_tokens == one[-1].usage.prompt_tokens


def test_echo_tells_what_the_model_thinks_of_the_prompt(house: House) -> None:
    ids = TOKENIZER.encode("that is the question", add_bos=True)

    async def ask() -> list[list[GenerateResponse]]:
        async with running(house) as generator:
            fields = {"echo": True, "num_logprobs": 2, "sampling": Sampling(max_tokens=0)}
            return [
                await generator.ask(prompt="that is the question", **fields),
                await generator.ask(tokens=TokenIds(ids=ids), **fields),
            ]

    by_text, by_ids = run(ask())
    scores = score(load_checkpoint(house.folder), ids, num_logprobs=2)
    told = [token for piece in by_ids for token in piece.tokens]
    assert [token.id for token in told] == ids
    assert not told[0].HasField("logprob")
    assert [token.logprob for token in told[1:]] == pytest.approx([each.logprob for each in scores[1:]])
    assert [[top.id for top in token.top] for token in told[1:]] == [
        [top.token for top in each.top_logprobs] for each in scores[1:]
    ]
    assert text_of(by_ids) == text_of(by_text) == "that is the question"
    assert by_ids[-1].usage.completion_tokens == 0
    assert by_ids[-1].finish_reason == FinishReason.FINISH_REASON_LENGTH
    ours = [token for piece in by_text for token in piece.tokens]
    assert [token.id for token in ours] == ids[1:]
    assert [token.logprob for token in ours] == [token.logprob for token in told[1:]]
    assert "".join(token.text for token in ours) == "that is the question"
    starts = [len(TOKENIZER.decode(ids[: place + 1])) for place in range(len(ids) - 1)]
    assert [token.offset for token in ours] == starts


def test_told_tokens_are_those_of_the_text(house: House) -> None:
    async def ask() -> list[GenerateResponse]:
        async with running(house) as generator:
            sampling = Sampling(seed=1, max_tokens=40)
            return await generator.ask(prompt="to", sampling=sampling, num_logprobs=0, echo=True)

    pieces = run(ask())
    told = [token for piece in pieces for token in piece.tokens]
    assert TOKENIZER.decode([token.id for token in told]) == text_of(pieces)
    assert len(told) == pieces[-1].usage.completion_tokens + pieces[-1].usage.prompt_tokens - 1
    offsets = [token.offset for token in told]
    assert offsets == sorted(offsets)


def test_the_token_that_ends_an_answer_is_told_too(house: House) -> None:
    async def ask() -> list[GenerateResponse]:
        async with running(house) as generator:
            sampling = Sampling(max_tokens=1, logit_bias={TOKENIZER.eos_id: 100.0})
            return await generator.ask(prompt="to", sampling=sampling, num_logprobs=1, echo=True)

    pieces = run(ask())
    told = [token for piece in pieces for token in piece.tokens]
    assert told[-1].text == "<eos>"
    assert text_of(pieces) == "to"
    assert pieces[-1].finish_reason == FinishReason.FINISH_REASON_STOP


def test_a_long_prompt_s_tokens_are_spread_over_messages(house: House) -> None:
    async def ask() -> list[GenerateResponse]:
        async with running(house) as generator:
            sampling = Sampling(max_tokens=0)
            return await generator.ask(
                tokens=TokenIds(ids=[5] * CONTEXT), num_logprobs=20, echo=True, sampling=sampling
            )

    pieces = run(ask())
    assert sum(len(piece.tokens) for piece in pieces) == CONTEXT
    assert max(piece.ByteSize() for piece in pieces) < 2**20
    assert [piece.model for piece in pieces].count("") == len(pieces) - 1


def test_an_answer_ends_where_the_context_does(house: House) -> None:
    async def ask() -> list[GenerateResponse]:
        async with running(house) as generator:
            return await generator.ask(tokens=TokenIds(ids=[5] * (CONTEXT - 3)), sampling=ENDLESS)

    pieces = run(ask())
    assert pieces[-1].usage.completion_tokens == 3
    assert pieces[-1].finish_reason == FinishReason.FINISH_REASON_LENGTH


def test_a_conversation_is_continued(house: House) -> None:
    turns = [
        Message(role=Role.ROLE_SYSTEM, parts=[Part(text="be brief")]),
        Message(role=Role.ROLE_USER, parts=[Part(text="to "), Part(text="be")]),
    ]

    async def ask() -> list[GenerateResponse]:
        async with running(house) as generator:
            return await generator.ask(
                conversation=Conversation(messages=turns), sampling=Sampling(max_tokens=4)
            )

    pieces = run(ask())
    spoken = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "to be"}]
    assert pieces[-1].usage.prompt_tokens == len(TOKENIZER.apply_chat_template(spoken))
