"""GenerationService over real gRPC with a tiny model of random weights."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from vermeil.content.v1.content_pb2 import Media, Message, Part, Role
from vermeil.generation.v1.generation_pb2 import Conversation, FinishReason, Sampling, TokenIds
from vermeil.generation.v1.generation_service_pb2 import (
    GenerateRequest,
    GenerateResponse,
    ListLoadedModelsRequest,
    LoadModelRequest,
    UnloadModelRequest,
)
from vermeil.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from vermeil_artifacts import ArtifactRef, LocalStore
from vermeil_errors import DeadlineExceeded, InvalidInput, NotFound, Overloaded
from vermeil_generator.fakes import FakeNames, publish_tiny_model, tiny_tokenizer, write_tiny_model
from vermeil_generator.settings import GeneratorSettings
from vermeil_generator.wiring import build
from vermeil_model import generate as generate_directly
from vermeil_model import load_checkpoint, score
from vermeil_model.sampling import SamplingParameters
from vermeil_rpc import RunningServer, connect_async, serve
from vermeil_rpc.testing import local_settings

TOKENIZER = tiny_tokenizer()
ENDLESS = Sampling(max_tokens=1000, logit_bias=dict.fromkeys(TOKENIZER.stop_ids, -100.0))
CONTEXT = 1024


@dataclass
class House:
    """A published tiny model and where its files are."""

    store: LocalStore
    ref: ArtifactRef
    folder: Path


@dataclass
class Running:
    """A server with a stub to it."""

    server: RunningServer
    stub: Any
    channel: Any

    async def ask(self, **fields: Any) -> list[GenerateResponse]:
        """All pieces of an answer."""
        request = GenerateRequest(**{"model": "models/tiny", **fields})
        return [piece async for piece in self.stub.Generate(request, timeout=20)]

    async def num_active(self) -> int:
        """Requests under way."""
        answer = await self.stub.ListLoadedModels(ListLoadedModelsRequest(), timeout=5)
        return sum(model.num_active for model in answer.models)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    folder = tmp_path_factory.mktemp("models")
    store = LocalStore(folder / "artifacts")
    ref = publish_tiny_model(store, folder / "tiny", context_length=CONTEXT)
    load_checkpoint(folder / "tiny")  # the first load of a process may import for seconds
    return House(store, ref, folder / "tiny")


@asynccontextmanager
async def running(house: House, **changes: Any) -> AsyncIterator[Running]:
    names = FakeNames()
    names.add("models/tiny/versions/1", house.ref)
    settings = GeneratorSettings.model_construct(**changes)
    services = build(settings, names=names, store=house.store)
    server = await serve(services, "127.0.0.1:0", local_settings(), probe_every=0.02)
    channel = connect_async(server.address)
    try:
        yield Running(server, GenerationServiceStub(channel), channel)
    finally:
        await channel.close()
        await server.drain(0.1)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


async def until(holds: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    async with asyncio.timeout(5):
        while not await holds():
            await asyncio.sleep(0.005)


def text_of(pieces: list[GenerateResponse], choice: int = 0) -> str:
    return "".join(piece.delta.text for piece in pieces if piece.choice == choice)


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


def test_a_client_that_goes_away_frees_its_places(house: House) -> None:
    async def leave() -> None:
        async with running(house, generator_slots=2, generator_queue=0) as generator:
            request = GenerateRequest(model="models/tiny", prompt="to", sampling=ENDLESS, num_choices=2)
            for _ in range(5):
                call = generator.stub.Generate(request, timeout=20)
                await anext(aiter(call))
                assert await generator.num_active() == 1
                with pytest.raises(Overloaded):
                    await generator.ask(prompt="to")
                call.cancel()
                await until(lambda: _is(generator.num_active, 0))
            assert await generator.ask(prompt="to", sampling=Sampling(max_tokens=1))

    run(leave())


def test_a_deadline_frees_the_place_too(house: House) -> None:
    async def wait() -> None:
        async with running(house) as generator:
            await generator.ask(prompt="to", sampling=Sampling(max_tokens=1))
            request = GenerateRequest(model="models/tiny", prompt="to", sampling=ENDLESS)
            with pytest.raises(DeadlineExceeded):
                async for _ in generator.stub.Generate(request, timeout=0.05):
                    pass
            await until(lambda: _is(generator.num_active, 0))

    run(wait())


async def _is(count: Callable[[], Coroutine[Any, Any, int]], expected: int) -> bool:
    return await count() == expected


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


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "input"),
        ({"prompt": "x", "num_choices": 17}, "num_choices"),
        ({"prompt": "x", "num_logprobs": -1}, "num_logprobs"),
        ({"prompt": "x", "sampling": Sampling(temperature=3)}, "sampling.temperature"),
        ({"prompt": "be " * 2000}, "prompt"),
        ({"tokens": TokenIds()}, "tokens.ids"),
        ({"conversation": Conversation()}, "conversation.messages"),
        (
            {"conversation": Conversation(messages=[Message(parts=[Part(text="x")])])},
            "conversation.messages[0].role",
        ),
        (
            {
                "conversation": Conversation(
                    messages=[
                        Message(role=Role.ROLE_USER, parts=[Part(text="x"), Part(image=Media(inline=b"p"))])
                    ]
                )
            },
            "conversation.messages[0].parts[1].image",
        ),
    ],
)
def test_a_wrong_request_is_refused_by_field(house: House, fields: dict[str, Any], named: str) -> None:
    async def ask() -> None:
        async with running(house) as generator:
            with pytest.raises(InvalidInput) as refused:
                await generator.ask(**fields)
            assert refused.value.violations[0].field == named
            if named.endswith("image"):
                assert "this model reads text only" in str(refused.value)

    run(ask())


def test_an_unknown_model_is_not_found(house: House) -> None:
    async def ask() -> None:
        async with running(house) as generator:
            with pytest.raises(NotFound):
                await generator.ask(model="models/other", prompt="x")

    run(ask())


def test_models_are_loaded_listed_and_unloaded_by_hand(house: House) -> None:
    async def manage() -> None:
        async with running(house) as generator:
            stub = generator.stub
            loaded = (await stub.LoadModel(LoadModelRequest(model="models/tiny"), timeout=20)).model
            assert (loaded.name, loaded.context_length) == ("models/tiny/versions/1", CONTEXT)
            assert loaded.num_bytes > 0
            page = await stub.ListLoadedModels(ListLoadedModelsRequest(page_size=1), timeout=5)
            assert [model.name for model in page.models] == [loaded.name]
            await stub.UnloadModel(UnloadModelRequest(model=loaded.name), timeout=5)
            assert not (await stub.ListLoadedModels(ListLoadedModelsRequest(), timeout=5)).models
            with pytest.raises(InvalidInput):
                await stub.ListLoadedModels(ListLoadedModelsRequest(page_size=1001), timeout=5)

    run(manage())


def test_while_draining_health_says_no_and_running_answers_end(house: House) -> None:
    async def drain() -> tuple[int, int]:
        async with running(house) as generator:
            health = HealthStub(generator.channel)
            check = HealthCheckRequest(service="vermeil.generation.v1.GenerationService")
            assert (await health.Check(check, timeout=5)).status == HealthCheckResponse.SERVING
            watch = health.Watch(check, timeout=20)
            states = aiter(watch)
            assert (await anext(states)).status == HealthCheckResponse.SERVING
            sampling = Sampling(max_tokens=200, seed=0, logit_bias=ENDLESS.logit_bias)
            request = GenerateRequest(model="models/tiny", prompt="to", sampling=sampling)
            call = aiter(generator.stub.Generate(request, timeout=20))
            await anext(call)
            draining = asyncio.create_task(generator.server.drain(10))
            state = (await anext(states)).status
            watch.cancel()
            last = [piece async for piece in call][-1]
            await draining
            return state, last.usage.completion_tokens

    state, num_tokens = run(drain())
    assert state == HealthCheckResponse.NOT_SERVING
    assert num_tokens == 200


def test_a_flipped_byte_in_the_weights_is_refused(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "artifacts")
    ref = publish_tiny_model(store, tmp_path / "model")
    blobs = [
        path
        for path in (tmp_path / "artifacts").rglob("*")
        if path.is_file() and path.stat().st_size > 50_000
    ]
    assert blobs
    for blob in blobs:
        blob.chmod(0o644)
        damaged = bytearray(blob.read_bytes())
        damaged[-1] ^= 1
        blob.write_bytes(damaged)

    async def ask() -> None:
        async with running(House(LocalStore(tmp_path / "artifacts"), ref, tmp_path)) as generator:
            with pytest.raises(Exception, match=r"model\.safetensors"):
                await generator.ask(prompt="x")

    run(ask())


def test_a_tiny_model_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_tiny_model(tmp_path / name)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]
