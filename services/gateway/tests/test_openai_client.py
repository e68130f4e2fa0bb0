"""The official client of OpenAI, against a real server."""

import base64
from collections.abc import Iterator

import openai
import pytest
from vermeil_gateway.fakes.pictures import png_of
from vermeil_gateway.testing import Running


@pytest.fixture
def client(gateway: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_it_streams_a_chat(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="vermeil-nano",
        messages=[{"role": "user", "content": "Hi"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == "Hello, world"
    assert chunks[-1].usage.total_tokens == 8


def test_it_chats_with_logprobs_and_choices(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="vermeil-nano@3",
        messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        n=2,
        logprobs=True,
        top_logprobs=2,
        extra_body={"top_k": 5},
    )
    assert [choice.message.content for choice in answer.choices] == ["Hello, world"] * 2
    assert answer.choices[0].logprobs.content[0].top_logprobs[1].token == "<1>"


def test_it_sends_an_answer_back_as_it_came(client: openai.OpenAI) -> None:
    turns = [{"role": "user", "content": "Hi"}]
    message = client.chat.completions.create(model="vermeil-nano", messages=turns).choices[0].message
    again = client.chat.completions.create(
        model="vermeil-nano", messages=[*turns, message, {"role": "user", "content": "More"}]
    )
    assert again.choices[0].finish_reason == "stop"


def test_it_completes(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="vermeil-nano", prompt=["a", "b"], echo=True, logprobs=1)
    assert [choice.text for choice in answer.choices] == ["aHello, world", "bHello, world"]
    assert answer.choices[0].logprobs.token_logprobs[0] is None
    streamed = client.completions.create(model="vermeil-nano", prompt="a", stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == "Hello, world"


def test_it_lists_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [
        "vermeil-nano",
        "vermeil-manner",
        "vermeil-pictures",
    ]
    assert client.models.retrieve("vermeil-nano@2").id == "vermeil-nano@2"
    assert client.models.retrieve("models/vermeil-nano/versions/2").id == "vermeil-nano@2"


def test_it_draws(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        model="vermeil-pictures", prompt="7", n=2, size="8x8", extra_body={"seed": 5, "steps": 4}
    )
    assert [base64.b64decode(image.b64_json) for image in answer.data] == [png_of(5), png_of(6)]
    assert (answer.size, answer.output_format, answer.usage.total_tokens) == ("8x8", "png", 9)


def test_it_draws_and_names_where_the_picture_is(client: openai.OpenAI, gateway: Running) -> None:
    answer = client.images.generate(model="vermeil-pictures", prompt="7", response_format="url")
    assert answer.data[0].url.startswith(f"{gateway.url}/v1/images/")
    assert gateway.http.get(answer.data[0].url).content == png_of(0)


def test_it_watches_a_picture_being_drawn(client: openai.OpenAI) -> None:
    stream = client.images.generate(model="vermeil-pictures", prompt="7", stream=True, partial_images=2)
    *partial, completed = list(stream)
    assert [event.type for event in partial] == ["image_generation.partial_image"] * 2
    assert [event.partial_image_index for event in partial] == [0, 1]
    assert completed.type == "image_generation.completed"
    assert base64.b64decode(completed.b64_json) == png_of(0)
    assert completed.usage.output_tokens == 4


def test_errors_become_its_exceptions(client: openai.OpenAI) -> None:
    turns = [{"role": "user", "content": "Hi"}]
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-4", messages=turns)
    assert missing.value.param == "model"
    assert missing.value.request_id
    with pytest.raises(openai.BadRequestError, match="tools"):
        client.chat.completions.create(model="vermeil-nano", messages=turns, tools=[{"type": "function"}])
    with pytest.raises(openai.APIError, match="the fake was asked to fail"):
        list(client.completions.create(model="vermeil-nano", prompt="fail", stream=True))
    with pytest.raises(openai.BadRequestError, match="draws 8x8 only") as wrong_size:
        client.images.generate(model="vermeil-pictures", prompt="7", size="1024x1024")
    assert wrong_size.value.param == "size"
    with pytest.raises(openai.APIError, match="the fake was asked to fail"):
        list(client.images.generate(model="vermeil-pictures", prompt="fail", stream=True))
