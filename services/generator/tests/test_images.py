"""GenerateImages over real gRPC: pictures, previews, artifacts, who leaves, what is refused."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vermeil.generation.v1.generation_pb2 import ImageSampling
from vermeil.generation.v1.generation_service_pb2 import (
    GenerateImagesRequest,
    GenerateImagesResponse,
    LoadModelRequest,
)
from vermeil_artifacts import LocalStore
from vermeil_data import TextTokenizer
from vermeil_errors import InvalidInput
from vermeil_generator import keep
from vermeil_generator.fakes import publish_tiny_image_model
from vermeil_generator.image_ask import ImageAsk
from vermeil_generator.loaded_fused import load_fused
from vermeil_generator.loaded_image import load_image
from vermeil_generator.settings import GeneratorSettings
from vermeil_generator.testing import IMAGE_MODEL, SECONDS, House, run, running, until
from vermeil_generator.turnstile import before_steps
from vermeil_media import Pixels, decode_image
from vermeil_model import FusedModel, ImageModel, PackedImageModel, load_checkpoint, save_checkpoint

FEW = ImageSampling(steps=4, seed=3)


def pixels_of(messages: list[GenerateImagesResponse]) -> list[Pixels]:
    return [
        decode_image(message.image.part.image.inline) for message in messages if message.HasField("image")
    ]


def test_progress_then_each_picture_as_png_with_its_seed(house: House) -> None:
    async def ask() -> list[GenerateImagesResponse]:
        async with running(house) as generator:
            return await generator.draw(prompt="ring", num_images=3, sampling=FEW)

    told = run(ask())
    assert told[0].model == "models/pictures/versions/1"
    assert (told[0].progress.steps_done, told[0].progress.steps_total) == (0, 12)
    assert [message.model for message in told[1:]] == [""] * (len(told) - 1)
    images = [message.image for message in told if message.HasField("image")]
    assert [(image.index, image.seed, image.width, image.height) for image in images] == [
        (0, 3, 8, 8), (1, 4, 8, 8), (2, 5, 8, 8),
    ]  # fmt: skip
    assert {image.part.image.media_type for image in images} == {"image/png"}
    assert (told[-1].usage.prompt_tokens, told[-1].usage.image_patches) == (1, 12)
    assert not any(message.HasField("usage") for message in told[:-1])


def test_a_seed_gives_its_picture_again(house: House) -> None:
    async def ask() -> tuple[list[Pixels], list[Pixels], list[Pixels]]:
        async with running(house) as generator:
            three = await generator.draw(prompt="ring", num_images=3, sampling=FEW)
            third = await generator.draw(prompt="ring", sampling=ImageSampling(steps=4, seed=5))
            other = await generator.draw(prompt="dot", sampling=ImageSampling(steps=4, seed=5))
            return pixels_of(three), pixels_of(third), pixels_of(other)

    three, third, other = run(ask())
    assert np.abs(three[2].astype(int) - third[0]).max() <= 1
    assert np.abs(other[0].astype(int) - third[0]).max() > 1


def test_previews_are_pictures_on_their_way(house: House) -> None:
    async def ask() -> list[GenerateImagesResponse]:
        async with running(house) as generator:
            return await generator.draw(prompt="ring", num_images=2, sampling=FEW, num_previews=2)

    previews = [message.preview for message in run(ask()) if message.HasField("preview")]
    assert [(each.image.index, each.number) for each in previews] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert decode_image(previews[0].image.part.image.inline).shape == (8, 8, 3)


def test_pictures_come_as_artifacts_where_asked_or_too_large(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(**fields: Any) -> list[GenerateImagesResponse]:
        async with running(house) as generator:
            return await generator.draw(prompt="ring", num_images=2, sampling=FEW, **fields)

    inline = pixels_of(run(ask()))
    told = run(ask(as_artifacts=True, num_previews=1))
    monkeypatch.setattr(keep, "MAX_INLINE_BYTES", 16)
    told_large = run(ask())
    for messages in (told, told_large):
        media = [message.image.part.image for message in messages if message.HasField("image")]
        for place, each in enumerate(media):
            assert each.artifact.kind == "image"
            with house.store.open(each.artifact.digest, each.path) as file:
                assert np.array_equal(decode_image(file.read()), inline[place])
    assert all(message.preview.image.part.image.inline for message in told if message.HasField("preview"))


def test_a_client_that_goes_away_stops_the_drawing_within_a_step(house: House) -> None:
    async def leave() -> None:
        async with running(house) as generator:
            request = GenerateImagesRequest(
                model=IMAGE_MODEL, prompt="ring", num_images=64, sampling=ImageSampling(steps=1000)
            )
            with before_steps(PackedImageModel, "__call__") as turnstile:
                for _ in range(3):
                    turnstile.let(5)
                    call = generator.stub.GenerateImages(request, timeout=SECONDS)
                    messages = aiter(call)
                    while not (await anext(messages)).progress.steps_done:
                        pass
                    assert await generator.num_active() == 1
                    call.cancel()
                    await until(generator.is_idle)
                turnstile.let(20)  # a step of what was left, and all of what is asked now
                assert pixels_of(await generator.draw(prompt="ring", sampling=FEW))

    run(leave())


@pytest.mark.parametrize(
    ("fields", "named", "words"),
    [
        ({"prompt": "circle"}, "prompt", "ring, cross, dot"),
        ({"class_number": 3}, "class_number", "send 0 to 2"),
        ({"prompt": "ring", "num_images": 65}, "num_images", "1 to 64"),
        ({"prompt": "ring", "width": 512, "height": 512}, "width", "8x8"),
        ({"prompt": "ring", "sampling": ImageSampling(steps=0)}, "sampling.steps", "1 to 1000"),
        ({"prompt": "ring", "sampling": ImageSampling(guidance=99)}, "sampling.guidance", "0 to 30"),
        ({"prompt": "ring", "sampling": ImageSampling(solver="x")}, "sampling.solver", "euler or heun"),
        ({"prompt": "ring", "sampling": ImageSampling(seed=-1)}, "sampling.seed", "0 to"),
        ({"prompt": "ring", "num_previews": 50}, "num_previews", "0 to 8"),
        ({"model": "models/tiny"}, "model", "writes text and draws no pictures"),
    ],
)
def test_a_wrong_request_is_refused_by_field(
    house: House, fields: dict[str, Any], named: str, words: str
) -> None:
    async def ask() -> None:
        async with running(house) as generator:
            with pytest.raises(InvalidInput, match=words) as refused:
                await generator.draw(**fields)
            assert refused.value.violations[0].field == named

    run(ask())


def test_a_model_of_images_says_that_it_writes_no_text(house: House) -> None:
    async def ask() -> None:
        async with running(house) as generator:
            with pytest.raises(InvalidInput, match=r"models/pictures/versions/1.*draws pictures") as refused:
                await generator.ask(model=IMAGE_MODEL, prompt="to")
            assert "GenerateImages" in str(refused.value)

    run(ask())


def test_a_loaded_model_says_what_it_answers_with(house: House) -> None:
    async def ask() -> list[list[str]]:
        async with running(house) as generator:
            answers = [
                await generator.stub.LoadModel(LoadModelRequest(model=model), timeout=SECONDS)
                for model in ("models/tiny", IMAGE_MODEL)
            ]
            return [list(answer.model.output_modalities) for answer in answers]

    assert run(ask()) == [["text"], ["image"]]


def test_a_model_of_captions_draws_a_text(house: House, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "artifacts")
    ref = publish_tiny_image_model(store, tmp_path / "captioned", "text")

    async def ask() -> list[GenerateImagesResponse]:
        async with running(House(store, house.ref, tmp_path, ref)) as generator:
            return await generator.draw(prompt="to be", sampling=FEW)

    told = run(ask())
    assert told[-1].usage.prompt_tokens > 1
    assert len(pixels_of(told)) == 1


def test_class_names_that_are_not_as_many_as_classes_are_refused(house: House, tmp_path: Path) -> None:
    assert house.image_ref is not None
    model = load_checkpoint(house.store.fetch(house.image_ref), ImageModel)
    save_checkpoint(tmp_path, model, extra={"class_names": ["one"]})
    with pytest.raises(InvalidInput, match="do not match the 3 classes"):
        load_image("models/x/versions/1", tmp_path, GeneratorSettings.model_construct())
    assert "painter models/x/versions/1" not in {thread.name for thread in threading.enumerate()}


def test_a_fused_model_that_cannot_be_loaded_leaves_nothing_at_work(house: House, tmp_path: Path) -> None:
    assert house.fused_ref is not None
    folder = house.store.fetch(house.fused_ref)
    TextTokenizer.load(folder).save(tmp_path)
    save_checkpoint(tmp_path, load_checkpoint(folder, FusedModel), extra={"image_fit": "squeeze"})
    with pytest.raises(InvalidInput, match="squeeze"):
        load_fused("models/x/versions/2", tmp_path, GeneratorSettings.model_construct())
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("models/x/versions/2")]


def test_steps_and_guidance_are_those_that_suit_the_model(house: House, tmp_path: Path) -> None:
    assert house.image_ref is not None
    model = load_checkpoint(house.store.fetch(house.image_ref), ImageModel)
    save_checkpoint(tmp_path, model, extra={"sampling": {"steps": 7, "guidance": 3.5}})
    loaded = load_image("models/x/versions/1", tmp_path, GeneratorSettings.model_construct())
    loaded.close()
    style = loaded.prepare(ImageAsk("models/x", "0")).style
    assert (style.steps, style.guidance) == (7, 3.5)
