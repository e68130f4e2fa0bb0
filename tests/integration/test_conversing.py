"""A model of text and pictures behind gateway and generator: one conversation, by OpenAI's client."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image
from vermeil_artifacts import LocalStore
from vermeil_client import Vermeil, user_turn
from vermeil_data import TextTokenizer
from vermeil_gateway.fakes import VERSION, FakeBackends
from vermeil_gateway.testing import running_gateway
from vermeil_generator.fakes import FakeNames, publish_tiny_fused_model
from vermeil_generator.settings import GeneratorSettings
from vermeil_generator.wiring import build
from vermeil_media import decode_image, encode_png
from vermeil_rpc import Service

MODEL = "vermeil-nano"
CONTEXT = 128
PATCHES = 4
"""Of a picture of the tiny model."""
CAT = encode_png(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))


@dataclass
class House:
    """A running pair of gateway and generator."""

    url: str
    tokenizer: TextTokenizer

    def asked(self, *, draws: bool, seed: int = 3) -> dict[str, Any]:
        """Fields of a request whose answer goes on, and begins with a picture or has none."""
        boi, *_ = self.tokenizer.picture_ids
        bias = {str(token): -100 for token in self.tokenizer.special_ids}
        bias[str(boi)] = 100 if draws else -100
        return {"model": MODEL, "seed": seed, "max_tokens": 6, "logit_bias": bias}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("conversing")
    store = LocalStore(folder / "artifacts")
    names = FakeNames()
    names.add(VERSION, publish_tiny_fused_model(store, folder / "model", context_length=CONTEXT))
    settings = GeneratorSettings.model_construct(generator_answer_images=1)

    def services(backends: FakeBackends) -> list[Service]:
        others = [each for each in backends.services() if each.servicer is not backends.generation]
        return [*others, *build(settings, names=names, store=store)]

    with running_gateway(services) as gateway:
        yield House(gateway.url, TextTokenizer.load(folder / "model"))


@pytest.fixture
def client(house: House) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def shown(file: bytes) -> dict[str, Any]:
    url = f"data:image/png;base64,{base64.b64encode(file).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def file_of(image: dict[str, Any]) -> bytes:
    return base64.b64decode(image["image_url"]["url"].removeprefix("data:image/png;base64,"))


def test_it_is_shown_a_picture_is_asked_about_it_and_draws_another(
    house: House, client: openai.OpenAI
) -> None:
    other = encode_png(np.full((20, 30, 3), 7, np.uint8))
    turns: list[Any] = [{"role": "user", "content": [shown(other), {"type": "text", "text": "to be?"}]}]
    speaks, draws = house.asked(draws=False), house.asked(draws=True)

    said = client.chat.completions.create(messages=turns, **speaks)
    assert said.choices[0].message.content
    assert not hasattr(said.choices[0].message, "images")
    assert said.usage is not None
    # How a turn begins may be known by now, a new picture is not.
    assert said.usage.prompt_tokens_details.cached_tokens < PATCHES

    turns += [said.choices[0].message, {"role": "user", "content": "that is the question"}]
    again = client.chat.completions.create(messages=turns, **speaks)
    assert again.usage is not None
    # The picture and the first question are read once: only what was added is new.
    assert again.usage.prompt_tokens_details.cached_tokens >= said.usage.prompt_tokens - 1

    turns += [again.choices[0].message, {"role": "user", "content": "draw"}]
    drawn = client.chat.completions.create(messages=turns, **draws)
    (image,) = drawn.choices[0].message.images
    assert decode_image(file_of(image)).shape == (8, 8, 3)
    assert image["offset"] == 0
    assert drawn.choices[0].message.content

    turns += [drawn.choices[0].message, {"role": "user", "content": "whether"}]
    last = client.chat.completions.create(messages=turns, **speaks)
    assert last.choices[0].message.content
    assert last.usage is not None
    assert drawn.usage is not None
    assert last.usage.prompt_tokens > drawn.usage.prompt_tokens + PATCHES


def test_a_streamed_answer_draws_and_says_what_a_whole_one_does(house: House, client: openai.OpenAI) -> None:
    asked = {"messages": [{"role": "user", "content": "draw"}], **house.asked(draws=True)}
    whole = client.chat.completions.create(**asked)
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(**asked, stream=True)]
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    images = [image for delta in deltas for image in getattr(delta, "images", [])]
    assert images == whole.choices[0].message.images
    assert len(images) == 1


def test_the_same_model_draws_what_only_pictures_are_asked_of(client: openai.OpenAI) -> None:
    drawn = client.images.generate(model=MODEL, prompt="to be", n=2, extra_body={"seed": 1})
    files = [base64.b64decode(each.b64_json or "") for each in drawn.data or ()]
    assert [decode_image(file).shape for file in files] == [(8, 8, 3)] * 2


def test_the_sdk_shows_pictures_and_gets_some(house: House) -> None:
    with Vermeil(house.url) as vermeil:
        options = house.asked(draws=True)
        pieces = list(vermeil.chat(options.pop("model"), [user_turn("this", [CAT])], **options))
    (image,) = (image for piece in pieces for image in piece.images)
    assert decode_image(image.png).shape == (8, 8, 3)
    assert pieces[-1].finish_reason == "length"


def test_bad_pictures_are_refused_with_field_value_and_fix(client: openai.OpenAI) -> None:
    def refused(*content: Any, words: str) -> openai.APIStatusError:
        turns: list[Any] = [{"role": "user", "content": [*content]}]
        with pytest.raises(openai.APIStatusError, match=words) as error:
            client.chat.completions.create(model=MODEL, messages=turns)
        return error.value

    broken = refused(shown(CAT[:100]), words="is not a whole picture.*send a whole file in PNG")
    assert broken.param == "messages[0].content[0].image"
    file = BytesIO()
    Image.new("1", (8000, 6250)).save(file, "PNG")
    assert len(file.getvalue()) < 10_000
    huge = refused(shown(file.getvalue()), words="50,000,000 pixels, the limit is 16,777,216")
    assert huge.param == "messages[0].content[0].image"
    elsewhere = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    assert refused(elsewhere, words="nothing is fetched here").status_code == 400
    assert refused(*[shown(CAT)] * 17, words="more than the 16").param == "messages"
    long = {"type": "text", "text": "whether " * CONTEXT}
    assert refused(shown(CAT), long, words=f"context of {CONTEXT} tokens").status_code == 400
