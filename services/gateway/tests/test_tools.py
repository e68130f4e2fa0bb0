"""Tools as OpenAI's client calls them, and what the generator is asked for them."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from vermeil.content.v1.content_pb2 import Role
from vermeil_gateway.testing import Running

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "description": "now", "parameters": PARAMETERS},
}
TIME: Any = {"type": "function", "function": {"name": "time"}}
CALL: Any = [{"role": "user", "content": "call"}]


@pytest.fixture
def client(gateway: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_the_official_client_reads_a_call_and_sends_its_result_back(
    gateway: Running, client: openai.OpenAI
) -> None:
    first = client.chat.completions.create(model="vermeil-nano", messages=CALL, tools=[WEATHER, TIME])
    (choice,) = first.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Rome"}
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": [{"type": "text", "text": "18 °C"}]}
    turns: Any = [*CALL, choice.message, result, {"role": "user", "content": "Hi"}]
    second = client.chat.completions.create(model="vermeil-nano", messages=turns, tools=[WEATHER, TIME])
    assert second.choices[0].message.content == "Hello, world"
    asked = gateway.backends.generation.requests[-1]
    assert [(tool.name, tool.description) for tool in asked.tools] == [("weather", "now"), ("time", "")]
    assert json.loads(asked.tools[0].parameters) == PARAMETERS
    assert not asked.HasField("tool_choice")
    spoken = asked.conversation.messages
    assert [message.role for message in spoken[1:3]] == [Role.ROLE_ASSISTANT, Role.ROLE_TOOL]
    assert spoken[1].parts[0].tool_call.arguments_json == '{"city": "Rome"}'
    assert spoken[2].parts[0].tool_result.id == call.id
    assert spoken[2].parts[0].tool_result.parts[0].text == "18 °C"


def test_a_streamed_call_is_put_together_by_the_official_client(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="vermeil-nano", messages=CALL, tools=[WEATHER], parallel_tool_calls=False
    ) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_completion().choices[0].message
    assert "tool_calls.function.arguments.delta" in kinds
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.name == "weather"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", {"required": True}),
        ({"type": "function", "function": {"name": "time"}}, {"tool": "time"}),
        ("auto", {}),
        (None, {}),
    ],
)
def test_whether_a_tool_is_called_may_be_chosen(
    gateway: Running, choice: object, expected: dict[str, object]
) -> None:
    answer = gateway.chat(messages=CALL, tools=[WEATHER, TIME], tool_choice=choice)
    assert answer.status_code == 200, answer.text
    asked = gateway.backends.generation.requests[-1].tool_choice
    assert {field.name: value for field, value in asked.ListFields()} == expected


def test_none_asks_for_no_tools_at_all(gateway: Running) -> None:
    answer = gateway.chat(messages=CALL, tools=[WEATHER], tool_choice="none")
    assert answer.json()["choices"][0]["message"]["content"] == "Hello, world"
    assert not gateway.backends.generation.requests[-1].tools


ANSWER = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "retrieval"}]}, "tools[0].type"),
        ({"tools": [TIME] * 65}, "tools"),
        ({"tool_choice": "required"}, None),
        ({"tools": [TIME], "tool_choice": "any"}, "tool_choice"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "c1"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [ANSWER]}]}, "messages[0]"),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [ANSWER | {"function": {"name": "a", "arguments": "{"}}],
                    }
                ]
            },
            "messages[0].tool_calls[0]",
        ),
    ],
)
def test_tools_that_make_no_sense_are_refused_by_name(
    gateway: Running, fields: dict[str, Any], param: str | None
) -> None:
    answer = gateway.chat(**fields)
    assert answer.status_code == 400, answer.text
    assert (answer.json()["error"]["param"] or None) == param, answer.text
