"""OpenAI's client, unchanged, against a real `vermeil up`: with keys, for embeddings, with tools."""

import json
import math
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from vermeil_local.testing import Installation, small_recipe

MODEL = "talks"
UNKNOWN = f"vermeil_{'0' * 16}_{'A' * 43}"
TURNS: Any = [{"role": "user", "content": "river"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class Answer(BaseModel):
    """What is asked for."""

    is_round: bool


@pytest.fixture(scope="module")
def house(vermeil: Installation, dataset: str) -> Installation:
    """With a model whose context holds a list of tools."""
    recipe = small_recipe(dataset, MODEL, 2)
    recipe["model"]["context_length"] = 1024
    with vermeil.client() as client:
        client.wait(client.train(recipe, request_id=MODEL).name)
    return vermeil


@pytest.fixture(scope="module")
def key(house: Installation) -> Any:
    """A key of the registry, made on the command line."""
    return _make_key(house, "--tokens-per-minute", "100000", "--tokens-per-day", "100000")


def _make_key(house: Installation, *limits: str) -> Any:
    made = house.command("keys", "create", "tests", "--scope", "inference", *limits, "--json")
    return json.loads(made.stdout)


@pytest.fixture
def client(house: Installation, key: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=key["secret"], timeout=200) as client:
        yield client


def test_a_key_opens_what_it_may_and_is_told_what_is_left(client: openai.OpenAI, house: Installation) -> None:
    answer = client.chat.completions.with_raw_response.create(model=MODEL, messages=TURNS, max_tokens=4)
    assert answer.parse().choices[0].finish_reason in ("stop", "length")
    assert 0 < int(answer.headers["x-ratelimit-remaining-tokens"]) <= 100_000
    with pytest.raises(openai.PermissionDeniedError, match="may inference"):
        client.get("/jobs", cast_to=object)
    with (
        openai.OpenAI(base_url=f"{house.url}/v1", api_key=UNKNOWN) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.chat.completions.create(model=MODEL, messages=TURNS)


def test_texts_become_vectors_of_length_1(client: openai.OpenAI) -> None:
    first, second = client.embeddings.create(model=MODEL, input=["river stone", "music"]).data
    assert len(first.embedding) == len(second.embedding) > 1
    assert math.isclose(sum(value * value for value in first.embedding), 1, rel_tol=1e-3)
    assert first.embedding != second.embedding


def test_a_tool_is_called_its_result_read_and_an_object_answered(client: openai.OpenAI) -> None:
    called = client.chat.completions.create(
        model=MODEL, messages=TURNS, tools=[WEATHER], tool_choice="required", max_tokens=200, seed=1
    )
    message = called.choices[0].message
    assert called.choices[0].finish_reason == "tool_calls"
    (call,) = message.tool_calls or ()
    assert json.loads(call.function.arguments)["city"] in ("Rome", "Oslo")
    turns = [*TURNS, message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    parsed = client.chat.completions.parse(
        model=MODEL,
        messages=turns,
        tools=[WEATHER],
        tool_choice="none",
        response_format=Answer,
        max_tokens=60,
        seed=1,
    )
    assert isinstance(parsed.choices[0].message.parsed, Answer)


def test_a_key_that_is_revoked_opens_nothing_more(client: openai.OpenAI, house: Installation) -> None:
    key = _make_key(house)
    own = client.with_options(api_key=key["secret"])

    def ask() -> None:
        own.chat.completions.create(model=MODEL, messages=TURNS, max_tokens=1)

    def ask_on() -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:  # a gateway knows a key for a while
            ask()

    ask()
    house.command("keys", "revoke", key["key"]["name"])
    with pytest.raises(openai.AuthenticationError, match="revoked"):
        ask_on()
