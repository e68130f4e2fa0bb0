"""Structured answers by OpenAI's client, through gateway and generator, of a model of random weights."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import openai
import pytest
from pydantic import BaseModel, Field
from vermeil_artifacts import LocalStore
from vermeil_gateway.fakes import VERSION, FakeBackends
from vermeil_gateway.testing import running_gateway
from vermeil_generator.fakes import FakeNames, publish_tiny_model
from vermeil_generator.settings import GeneratorSettings
from vermeil_generator.wiring import build
from vermeil_rpc import Service

MODEL = "vermeil-nano"
TURNS: Any = [{"role": "user", "content": "to be"}]


class Side(BaseModel):
    """Half of a thing."""

    colour: Literal["red", "grün"]


class Thing(BaseModel):
    """What is asked for."""

    kind: Literal["ring", "dot"]
    size: Annotated[int, Field(ge=0, le=99)]
    sides: Annotated[list[Side], Field(min_length=1, max_length=2)]
    hollow: bool | None


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    folder = tmp_path_factory.mktemp("structured")
    store = LocalStore(folder / "artifacts")
    names = FakeNames()
    names.add(VERSION, publish_tiny_model(store, folder / "model", context_length=2048))

    def services(backends: FakeBackends) -> list[Service]:
        others = [each for each in backends.services() if each.servicer is not backends.generation]
        return [*others, *build(GeneratorSettings.model_construct(), names=names, store=store)]

    with (
        running_gateway(services) as gateway,
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def test_parse_gives_an_object_of_the_class(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model=MODEL, messages=TURNS, response_format=Thing, n=3, seed=1, max_completion_tokens=200
    )
    assert [choice.finish_reason for choice in answer.choices] == ["stop"] * 3
    assert all(isinstance(choice.message.parsed, Thing) for choice in answer.choices)


def test_a_stream_is_parsed_too(client: openai.OpenAI) -> None:
    asked: Any = {"model": MODEL, "messages": TURNS, "response_format": Thing, "temperature": 0}
    with client.chat.completions.stream(**asked, max_completion_tokens=200) as stream:
        final = stream.get_final_completion().choices[0].message
    assert isinstance(final.parsed, Thing)
    assert final.parsed == Thing.model_validate_json(final.content or "")


def test_an_answer_cut_short_is_called_so(client: openai.OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model=MODEL, messages=TURNS, response_format=Thing, max_tokens=4)


def test_an_expression_holds_in_chats_and_completions(client: openai.OpenAI) -> None:
    extra = {"structured_outputs": {"regex": "(yes|no), [a-c]{3}"}}
    said = client.chat.completions.create(
        model=MODEL, messages=TURNS, max_tokens=40, seed=2, frequency_penalty=1, extra_body=extra
    )
    written = client.completions.create(model=MODEL, prompt="to", max_tokens=40, seed=2, extra_body=extra)
    for text in (said.choices[0].message.content or "", written.choices[0].text):
        word, _, letters = text.partition(", ")
        assert word in ("yes", "no")
        assert len(letters) == 3
        assert set(letters) <= set("abc")


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"enum": []}},
                }
            },
            "response_format.json_schema.schema",
            "cannot be met: Unsatisfiable schema",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"description": "x" * 40_000}},
                }
            },
            "response_format.json_schema.schema",
            "is larger than 32,768 bytes; ask for less",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"properties": {"a": {"typ": "number"}}}},
                }
            },
            "response_format.json_schema.schema.properties.a.typ",
            "'number'.*is no keyword of JSON Schema; correct it",
        ),
        (
            {"extra_body": {"structured_outputs": {"regex": "(a"}}},
            "structured_outputs.regex",
            r"'\(a'.*unclosed group; use another expression",
        ),
        ({"n": 10_000}, "n", "less than or equal to 16, not 10000"),
        ({"logit_bias": {"99999": 1}}, "logit_bias", "99999.*is no token of this model; send 0 to"),
    ],
)
def test_what_cannot_be_is_refused_with_field_value_and_fix(
    client: openai.OpenAI, fields: Any, param: str, words: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=words) as refused:
        client.chat.completions.create(model=MODEL, messages=TURNS, **fields)
    assert refused.value.param == param


def test_a_call_keeps_to_its_tool_and_its_result_is_read(client: openai.OpenAI) -> None:
    tool = openai.pydantic_function_tool(Thing, name="store")
    asked: Any = {"model": MODEL, "tools": [tool], "seed": 3}
    answer = client.chat.completions.create(
        **asked, messages=TURNS, tool_choice="required", max_completion_tokens=200
    )
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name == "store"
    Thing.model_validate_json(call.function.arguments)
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "kept"}
    turns = [*TURNS, choice.message, result]
    chunks = client.chat.completions.create(**asked, messages=turns, max_completion_tokens=8, stream=True)
    *_, last = chunks
    assert last.choices[0].finish_reason in ("stop", "length")


def test_what_does_not_fit_or_cannot_be_met_is_refused_in_the_caller_s_words(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="context of 2048 tokens") as too_long:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "to be " * 2400}])
    assert too_long.value.param == "messages"
    never: Any = {"type": "string", "minLength": 3, "maxLength": 2}
    format_: Any = {"type": "json_schema", "json_schema": {"name": "never", "schema": never}}
    with pytest.raises(openai.BadRequestError, match="cannot be met") as unmet:
        client.chat.completions.create(model=MODEL, messages=TURNS, response_format=format_)
    assert unmet.value.param == "response_format.json_schema.schema"
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {"typ": "object"}}}
    with pytest.raises(openai.BadRequestError, match="no keyword of JSON Schema") as misspelt:
        client.chat.completions.create(model=MODEL, messages=TURNS, tools=[tool])
    assert misspelt.value.param == "tools[0].function.parameters.typ"
