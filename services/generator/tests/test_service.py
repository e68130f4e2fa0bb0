"""GenerationService over real gRPC: who leaves, what is refused, loading, draining."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from vermeil.content.v1.content_pb2 import Media, Message, Part, Role
from vermeil.generation.v1.generation_pb2 import Conversation, Sampling, TokenIds
from vermeil.generation.v1.generation_service_pb2 import (
    GenerateRequest,
    ListLoadedModelsRequest,
    LoadModelRequest,
    UnloadModelRequest,
)
from vermeil_artifacts import LocalStore
from vermeil_errors import DeadlineExceeded, Internal, InvalidInput, NotFound, Overloaded
from vermeil_generator.fakes import publish_tiny_model, tiny_tokenizer, write_tiny_model
from vermeil_generator.messages import ask_from_message
from vermeil_generator.testing import CONTEXT, SECONDS, House, run, running, until
from vermeil_generator.turnstile import before_steps
from vermeil_model import Decoder

TOKENIZER = tiny_tokenizer()
ENDLESS = Sampling(max_tokens=1000, seed=0, logit_bias=dict.fromkeys(TOKENIZER.stop_ids, -100.0))
FEW = 20
"""Steps in which an answer begins; all that a test lets through are no 1000."""


def test_a_client_that_goes_away_frees_its_places(house: House) -> None:
    async def leave() -> None:
        async with running(house, generator_slots=2, generator_queue=0) as generator:
            request = GenerateRequest(model="models/tiny", prompt="to", sampling=ENDLESS, num_choices=2)
            with before_steps(Decoder) as turnstile:
                for _ in range(5):
                    turnstile.let(FEW)
                    call = generator.stub.Generate(request, timeout=SECONDS)
                    await anext(aiter(call))
                    assert await generator.num_active() == 1
                    with pytest.raises(Overloaded):
                        await generator.ask(prompt="to")
                    call.cancel()
                    await until(generator.is_idle)
            assert await generator.ask(prompt="to", sampling=Sampling(max_tokens=1))

    run(leave())


def test_a_model_that_has_died_is_freed_at_once_and_loaded_when_asked_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError("no room")

    async def die() -> None:
        async with running(house) as generator:
            asked = {"prompt": "to", "sampling": Sampling(max_tokens=1)}
            await generator.ask(**asked)
            for method in ("step", "__init__"):
                monkeypatch.setattr(Decoder, method, fails)
            with pytest.raises(Internal):
                await generator.ask(**asked)
            monkeypatch.undo()
            listed = await generator.stub.ListLoadedModels(ListLoadedModelsRequest(), timeout=SECONDS)
            assert list(listed.models) == []
            assert await generator.ask(**asked)

    run(die())


def test_a_role_that_nobody_knows_is_refused_by_its_number() -> None:
    request = GenerateRequest(model="models/tiny")
    request.conversation.messages.add().role = 999  # type: ignore[assignment]
    with pytest.raises(InvalidInput, match=r"messages\[0\]\.role = 999: is not supported"):
        ask_from_message(request, lambda _media, _field: b"")


def test_a_deadline_frees_the_place_too(house: House) -> None:
    async def wait() -> None:
        async with running(house) as generator:
            await generator.ask(prompt="to", sampling=Sampling(max_tokens=1))
            request = GenerateRequest(model="models/tiny", prompt="to", sampling=ENDLESS)
            with before_steps(Decoder) as turnstile:
                turnstile.let(FEW)
                with pytest.raises(DeadlineExceeded):
                    async for _ in generator.stub.Generate(request, timeout=0.5):
                        pass
                await until(generator.is_idle)

    run(wait())


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
            loaded = (await stub.LoadModel(LoadModelRequest(model="models/tiny"), timeout=SECONDS)).model
            assert (loaded.name, loaded.context_length) == ("models/tiny/versions/1", CONTEXT)
            assert loaded.num_bytes > 0
            page = await stub.ListLoadedModels(ListLoadedModelsRequest(page_size=1), timeout=SECONDS)
            assert [model.name for model in page.models] == [loaded.name]
            await stub.UnloadModel(UnloadModelRequest(model=loaded.name), timeout=SECONDS)
            assert not (await stub.ListLoadedModels(ListLoadedModelsRequest(), timeout=SECONDS)).models
            with pytest.raises(InvalidInput):
                await stub.ListLoadedModels(ListLoadedModelsRequest(page_size=1001), timeout=SECONDS)

    run(manage())


def test_while_draining_health_says_no_and_running_answers_end(house: House) -> None:
    async def drain() -> tuple[int, int]:
        async with running(house) as generator:
            health = HealthStub(generator.channel)
            check = HealthCheckRequest(service="vermeil.generation.v1.GenerationService")
            assert (await health.Check(check, timeout=SECONDS)).status == HealthCheckResponse.SERVING
            watch = health.Watch(check, timeout=SECONDS)
            states = aiter(watch)
            assert (await anext(states)).status == HealthCheckResponse.SERVING
            sampling = Sampling(max_tokens=200, seed=0, logit_bias=ENDLESS.logit_bias)
            request = GenerateRequest(model="models/tiny", prompt="to", sampling=sampling)
            call = aiter(generator.stub.Generate(request, timeout=SECONDS))
            with before_steps(Decoder) as turnstile:
                turnstile.let(FEW)
                await anext(call)
                draining = asyncio.create_task(generator.server.drain(SECONDS))
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
