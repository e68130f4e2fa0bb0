"""A model of text and pictures over real gRPC: shown pictures, asked about them, drawing in its answers."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from vermeil.content.v1.content_pb2 import Media, Message, Part, Role
from vermeil.generation.v1.generation_pb2 import Conversation as Said
from vermeil.generation.v1.generation_pb2 import FinishReason, ImageSampling, Sampling, TokenIds
from vermeil.generation.v1.generation_service_pb2 import (
    GenerateRequest,
    GenerateResponse,
    LoadModelRequest,
)
from vermeil_artifacts import LocalStore
from vermeil_data import ImageEncoding, TextTokenizer
from vermeil_errors import InvalidInput, Overloaded, TooLarge, VermeilError
from vermeil_generator import keep
from vermeil_generator.fakes import publish_tiny_fused_model, tiny_tokenizer
from vermeil_generator.loaded_fused import load_fused
from vermeil_generator.settings import GeneratorSettings
from vermeil_generator.testing import FUSED_MODEL, SECONDS, House, run, running, text_of, until
from vermeil_generator.turnstile import before_steps
from vermeil_media import decode_image, encode_png
from vermeil_model import (
    Conversation,
    Conversations,
    FusedModel,
    Markers,
    SamplingParameters,
    TokenEvent,
    from_pixels,
    load_checkpoint,
    sample_in_context,
    to_pixels,
)
from vermeil_rpc.convert import artifact_to_message

TOKENIZER = tiny_tokenizer()
BOI, EOI = TOKENIZER.picture_ids
MARKERS = Markers(BOI, EOI)
QUIET = {BOI: -100.0}
DRAWS = {BOI: 100.0}
PATCHES, STRIDE = 4, 2
"""Of the tiny model's pictures."""


def picture(seed: int = 0, height: int = 12, width: int = 10) -> bytes:
    return encode_png(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def turn(*parts: str | bytes | Media, role: Role.ValueType = Role.ROLE_USER) -> Message:
    def part(given: str | bytes | Media) -> Part:
        if isinstance(given, str):
            return Part(text=given)
        return Part(image=given if isinstance(given, Media) else Media(inline=given))

    return Message(role=role, parts=[part(given) for given in parts])


def said(*turns: Message) -> dict[str, Any]:
    return {"model": FUSED_MODEL, "conversation": Said(messages=turns)}


def greedy(max_tokens: int = 8, logit_bias: dict[int, float] = QUIET) -> Sampling:
    return Sampling(temperature=0, seed=1, max_tokens=max_tokens, logit_bias=logit_bias)


def model_of(house: House) -> FusedModel:
    assert house.fused_ref is not None
    return load_checkpoint(house.store.fetch(house.fused_ref), FusedModel)


def answer_of(model: FusedModel, ids: list[int], *pictures: bytes, max_tokens: int = 8) -> str:
    """What the model says by itself to a prompt with pictures at its <boi>."""
    conversation, shown, start = Conversation(model, MARKERS), iter(pictures), 0
    while start < len(ids):
        if ids[start] == BOI:
            pixels_CHW = ImageEncoding(8, 8, 3, "stretch").pixels(next(shown), "picture")
            conversation.read_picture(from_pixels(torch.from_numpy(pixels_CHW.copy()[None]))[0])
            start += 2
        else:
            conversation.read_tokens([ids[start]])
            start += 1
    parameters = SamplingParameters(
        temperature=0, max_tokens=max_tokens, stop_ids=TOKENIZER.stop_ids, logit_bias=QUIET
    )
    events = conversation.reply(parameters)
    return TOKENIZER.decode([event.token for event in events if isinstance(event, TokenEvent)])


def images_of(pieces: list[GenerateResponse]) -> list[Media]:
    return [piece.delta.image for piece in pieces if piece.delta.HasField("image")]


def asked_of(house: House, requests: list[dict[str, Any]], **settings: Any) -> list[list[GenerateResponse]]:
    async def ask() -> list[list[GenerateResponse]]:
        async with running(house, **settings) as generator:
            return [await generator.ask(**request) for request in requests]

    answers: list[list[GenerateResponse]] = run(ask())
    return answers


def test_pictures_are_read_where_they_stand_and_as_in_training(house: House) -> None:
    one, other = picture(1), picture(2)
    turns = [
        turn("be brief", role=Role.ROLE_SYSTEM),
        turn("to ", "be", one, "or"),
        turn("this", other, role=Role.ROLE_ASSISTANT),
        turn("why?"),
    ]
    (pieces,) = asked_of(house, [said(*turns) | {"sampling": greedy()}])
    ids = TOKENIZER.apply_chat_template(
        [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": ["to be", None, "or"]},
            {"role": "assistant", "content": ["this", None]},
            {"role": "user", "content": "why?"},
        ]
    )
    assert text_of(pieces) == answer_of(model_of(house), ids, one, other)
    assert pieces[-1].usage.prompt_tokens == len(ids) + 2 * PATCHES
    assert pieces[-1].usage.cached_prompt_tokens == 0


@pytest.mark.parametrize(
    ("styles", "ids"),
    [
        ({}, [TOKENIZER.bos_id, BOI, EOI]),
        ({"captioning": "document"}, [TOKENIZER.bos_id, BOI, EOI]),
        ({"captioning": "chat"}, TOKENIZER.apply_chat_template([{"role": "user", "content": ["", None]}])),
    ],
)
def test_a_picture_alone_asks_for_its_caption_as_that_was_learned(
    tmp_path: Path, styles: dict[str, str], ids: list[int]
) -> None:
    store = LocalStore(tmp_path / "artifacts")
    ref = publish_tiny_fused_model(store, tmp_path / "model", styles=styles)
    house = House(store, ref, tmp_path, fused_ref=ref)
    (pieces,) = asked_of(house, [said(turn(picture())) | {"sampling": greedy()}])
    assert text_of(pieces) == answer_of(model_of(house), ids, picture())


def test_a_plain_text_goes_on_as_a_document(house: House) -> None:
    (pieces,) = asked_of(house, [{"model": FUSED_MODEL, "prompt": "to be", "sampling": greedy()}])
    assert text_of(pieces) == answer_of(model_of(house), TOKENIZER.encode("to be", add_bos=True))


def test_a_picture_in_an_answer_is_a_part_between_its_texts(house: House) -> None:
    sampling = greedy(6, logit_bias=DRAWS)
    request = said(turn("draw")) | {"sampling": sampling}
    (pieces,) = asked_of(house, [request], generator_answer_images=2)
    (first, second) = images_of(pieces)
    assert first.media_type == "image/png"
    assert decode_image(first.inline).shape == (8, 8, 3)
    assert first.inline != second.inline
    assert pieces[-1].finish_reason != FinishReason.FINISH_REASON_UNSPECIFIED
    # Two calls, two ends and at most four tokens of text; what a picture takes is counted too.
    assert 2 * (2 + PATCHES) <= pieces[-1].usage.completion_tokens <= 2 * (2 + PATCHES) + 4
    assert not [piece for piece in pieces if piece.delta.HasField("image") and piece.finish_reason]


def test_the_same_seed_draws_the_same_picture_in_any_company(house: House) -> None:
    def request(seed: int) -> dict[str, Any]:
        sampling = Sampling(seed=seed, max_tokens=5, logit_bias=DRAWS)
        return said(turn("to be" * seed, picture(seed))) | {"sampling": sampling}

    async def ask() -> tuple[list[Any], list[Any]]:
        async with running(house, generator_slots=3, generator_answer_images=1) as generator:
            alone = [await generator.ask(**request(seed)) for seed in range(5)]
            together = await asyncio.gather(*(generator.ask(**request(seed)) for seed in range(5)))
            return alone, list(together)

    alone, together = run(ask())
    for mine, theirs in zip(alone, together, strict=True):
        assert text_of(mine) == text_of(theirs)
        pairs = zip(images_of(mine), images_of(theirs), strict=True)
        assert all(
            np.abs(decode_image(one.inline).astype(int) - decode_image(two.inline)).max() <= 1
            for one, two in pairs
        )
        assert len(images_of(mine)) == 1


def test_a_large_picture_of_an_answer_is_an_artifact(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    request = said(turn("draw")) | {"sampling": greedy(1, logit_bias=DRAWS)}
    (inline,) = images_of(asked_of(house, [request])[0])
    monkeypatch.setattr(keep, "MAX_INLINE_BYTES", 16)
    (kept,) = images_of(asked_of(house, [request])[0])
    assert kept.artifact.kind == "image"
    with house.store.open(kept.artifact.digest, kept.path) as file:
        assert file.read() == inline.inline


def test_a_given_picture_may_lie_in_the_store(house: House, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(picture())
    ref = artifact_to_message(house.store.publish(tmp_path, kind="image"))
    kept = Media(artifact=ref, path="cat.png")
    requests = [said(turn("to", given)) | {"sampling": greedy()} for given in (picture(), kept)]
    first, second = asked_of(house, requests)
    assert text_of(first) == text_of(second)
    whole = second[-1].usage.prompt_tokens
    assert second[-1].usage.cached_prompt_tokens == whole - 1


@pytest.mark.parametrize("kept_bytes", [0, 2**28])
def test_a_second_question_about_a_picture_reads_only_its_words(house: House, kept_bytes: int) -> None:
    questions = ("to be?", "whether?")
    requests = [said(turn(picture(), text)) | {"sampling": greedy()} for text in questions]
    first, second = asked_of(house, requests, generator_kept_bytes=kept_bytes)
    assert first[-1].usage.cached_prompt_tokens == 0
    shared = 1 + 1 + (2 + PATCHES)  # <bos>, <|user|>, the picture between its marks
    assert second[-1].usage.cached_prompt_tokens == (shared if kept_bytes else 0)
    ids = TOKENIZER.apply_chat_template([{"role": "user", "content": [None, questions[1]]}])
    assert text_of(second) == answer_of(model_of(house), ids, picture())


def test_choices_read_the_prompt_once_and_say_different_things(house: House) -> None:
    sampling = Sampling(seed=3, max_tokens=12, logit_bias=QUIET)
    (pieces,) = asked_of(house, [said(turn(picture(), "to")) | {"sampling": sampling, "num_choices": 3}])
    assert len({text_of(pieces, choice) for choice in range(3)}) == 3
    # Only the first reads, and that is what counts.
    assert pieces[-1].usage.cached_prompt_tokens == 0


def test_a_stop_string_ends_an_answer_of_a_model_that_draws_too(house: House) -> None:
    prompt = {"model": FUSED_MODEL, "prompt": "to be"}
    (free,) = asked_of(house, [prompt | {"sampling": greedy(20)}])
    stop = text_of(free)[3:5]
    sampling = greedy(20)
    sampling.stop.append(stop)
    (pieces,) = asked_of(house, [prompt | {"sampling": sampling}])
    assert text_of(pieces) == text_of(free)[: text_of(free).index(stop)]
    assert pieces[-1].finish_reason == FinishReason.FINISH_REASON_STOP


def test_who_goes_away_while_a_picture_is_drawn_frees_the_place(house: House) -> None:
    async def leave() -> None:
        async with running(house, generator_slots=1, generator_queue=0) as generator:
            sampling = Sampling(
                max_tokens=50, logit_bias={**DRAWS, **dict.fromkeys(TOKENIZER.stop_ids, -100.0)}
            )
            request = GenerateRequest(**said(turn("draw")), sampling=sampling)
            with before_steps(Conversations) as turnstile:
                for _ in range(3):
                    turnstile.let(12)  # a picture and half of another; all of these are no 50 tokens
                    call = generator.stub.Generate(request, timeout=SECONDS)
                    await anext(aiter(call))
                    with pytest.raises(Overloaded):
                        await generator.ask(**said(turn("to")))
                    call.cancel()
                    await until(generator.is_idle)
            assert await generator.ask(**said(turn("to")), sampling=greedy(1))

    run(leave())


@pytest.mark.parametrize("style", ["document", "chat", None])
def test_pictures_alone_are_drawn_for_a_prompt_as_it_was_learned(tmp_path: Path, style: str | None) -> None:
    store = LocalStore(tmp_path / "artifacts")
    styles = {"text-to-image": style} if style else {}
    ref = publish_tiny_fused_model(store, tmp_path / "model", styles=styles)
    house = House(store, ref, tmp_path, fused_ref=ref)

    async def draw() -> Any:
        async with running(house) as generator:
            options = {"model": FUSED_MODEL, "sampling": ImageSampling(seed=5)}
            asked = await generator.draw(prompt="to be", num_images=2, **options)
            return asked, await generator.draw(**options)

    asked, free = run(draw())
    ids = TOKENIZER.encode("to be", add_bos=True)
    if style == "chat":
        ids = TOKENIZER.apply_chat_template([{"role": "user", "content": "to be"}])
    model = model_of(house)
    memory = model.begin(1)
    model.read_text(memory, torch.tensor([[*ids, BOI]]))
    context = model.context(memory)
    expected = [
        to_pixels(
            sample_in_context(model.painter(), context, seeds=[seed], steps=6, guidance=guidance)
        ).numpy()[0]
        for seed, guidance in ((5, 2.0), (6, 2.0), (5, 0.0))
    ]
    messages = [message for message in (*asked, *free) if message.HasField("image")]
    for message, pixels in zip(messages, expected, strict=True):
        drawn = decode_image(message.image.part.image.inline)
        assert np.abs(drawn.astype(int) - pixels).max() <= 1
    assert asked[-1].usage.prompt_tokens == len(ids) + 1


def with_pictures(count: int) -> Message:
    return turn(*[picture()] * count, "to")


LONGEST = 128 - 1
ECHOED = {"num_logprobs": 0, "echo": True}
"""Positions of a prompt."""
FORMAT = len(TOKENIZER.apply_chat_template([{"role": "user", "content": ["", None]}]))


@pytest.mark.parametrize(
    ("fields", "error", "field", "words"),
    [
        (
            {**said(turn("to", picture())), "model": "models/tiny"},
            InvalidInput,
            "{1}",
            "reads text only; send",
        ),
        (said(turn("to", b"hi")), InvalidInput, "{1}", "is not a picture in PNG.* it is text; send a whole"),
        (said(turn("to", picture()[:-40])), InvalidInput, "{1}", "is not a whole picture.*; send a whole"),
        (said(turn("to", picture(height=5, width=41))), TooLarge, "{1}", "205 pixels, the limit is 200"),
        (said(turn("to", bytes(2**20 + 1))), TooLarge, "{1}", "more than 1,048,576 bytes; send a smaller"),
        (said(turn("to", Media())), InvalidInput, "{1}", "holds no picture; send inline"),
        (said(turn("to", picture(), role=Role.ROLE_SYSTEM)), InvalidInput, "{1}", "turn of the user"),
        (
            said(with_pictures(4)),
            InvalidInput,
            "conversation",
            "'4 pictures': are more than the 3.*at most 3",
        ),
        (
            said(turn(picture(), "!" * (LONGEST - FORMAT - STRIDE + 1))),
            InvalidInput,
            "conversation",
            "'128 tokens .each of 1 pictures takes 2.': do not fit .* 128 tokens; shorten it to 127",
        ),
        ({**said(turn(picture(), "to")), **ECHOED}, InvalidInput, "num_logprobs", "leave out echo"),
        (
            {"model": FUSED_MODEL, "tokens": TokenIds(ids=[1, BOI])},
            InvalidInput,
            "tokens.ids",
            "announces a picture; send a conversation",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_field_value_and_fix(
    house: House, fields: dict[str, Any], error: type[VermeilError], field: str, words: str
) -> None:
    with pytest.raises(error, match=words) as refused:
        asked_of(house, [fields], generator_prompt_images=3, generator_prompt_pixels=200)
    assert refused.value.violations[0].field == field.replace(
        "{1}", "conversation.messages[0].parts[1].image"
    )


def test_at_its_limits_all_is_read(house: House) -> None:
    fits = [
        said(turn("to", picture(height=5, width=40))),
        said(with_pictures(3)),
        said(turn(picture(height=1, width=1), "!" * (LONGEST - FORMAT - STRIDE))),
    ]
    told = asked_of(
        house,
        [request | {"sampling": greedy(1)} for request in fits],
        generator_prompt_images=3,
        generator_prompt_pixels=200,
    )
    assert [pieces[-1].usage.completion_tokens for pieces in told] == [1, 1, 1]


def test_it_says_that_it_answers_with_text_and_pictures(house: House) -> None:
    async def ask() -> Any:
        async with running(house) as generator:
            asked = LoadModelRequest(model=FUSED_MODEL)
            return (await generator.stub.LoadModel(asked, timeout=SECONDS)).model

    loaded = run(ask())
    assert list(loaded.output_modalities) == ["text", "image"]
    assert loaded.context_length == 128
    assert loaded.num_bytes > 0


def test_what_it_keeps_of_conversations_counts_as_its_memory(house: House) -> None:
    assert house.fused_ref is not None
    folder = house.store.fetch(house.fused_ref)
    counted = []
    for kept_bytes in (0, 12345):
        settings = GeneratorSettings.model_construct(generator_kept_bytes=kept_bytes)
        loaded = load_fused("models/x/versions/1", folder, settings)
        loaded.close()
        counted.append(loaded.memory_bytes)
        assert not loaded.is_alive
    assert counted[1] - counted[0] == 12345


def test_a_tokenizer_without_marks_for_pictures_is_refused(house: House, tmp_path: Path) -> None:
    assert house.fused_ref is not None
    folder = house.store.fetch(house.fused_ref)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes().replace(b'"<boi>"', b'"<b0i>"'))
    assert TextTokenizer.load(tmp_path).boi_id is None
    with pytest.raises(InvalidInput, match="without marks for pictures"):
        load_fused("models/x/versions/1", tmp_path, GeneratorSettings.model_construct())
