"""Tools in conversations: how they are spelled, and that calls keep to them."""

import json
import random
from typing import Any

import jsonschema
import pytest
from vermeil.content.v1.content_pb2 import Message, Part, Role, ToolCall, ToolResult
from vermeil.generation.v1.generation_pb2 import (
    FINISH_REASON_LENGTH,
    FINISH_REASON_STOP,
    FINISH_REASON_TOOL_CALL,
    Conversation,
    OutputFormat,
    Sampling,
    Tool,
    ToolChoice,
)
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest
from vermeil_errors import InvalidInput
from vermeil_generator.ask import Ask
from vermeil_generator.ask import Conversation as Turns
from vermeil_generator.fakes import tiny_tokenizer
from vermeil_generator.grammar import GuidanceGrammars
from vermeil_generator.messages import ask_from_message
from vermeil_generator.testing import House, run, running, text_of
from vermeil_generator.tool_spelling import Call, is_whole, read_call, spelled_call

TOKENIZER = tiny_tokenizer()
CITIES = {
    "type": "object",
    "properties": {
        "city": {"enum": ["Rome", "Oslo"]},
        "days": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = Tool(name="weather", description="Of a city", parameters=json.dumps(CITIES))
TIME = Tool(name="time")
HI = Message(role=Role.ROLE_USER, parts=[Part(text="Hi")])


def ask(*messages: Message, **fields: Any) -> Ask:
    conversation = Conversation(messages=messages or [HI])
    request = GenerateRequest(**{"model": "models/tiny", "conversation": conversation, **fields})
    return ask_from_message(request, lambda _media, _field: b"")


def turns(asked: Ask) -> list[tuple[str, str]]:
    assert isinstance(asked.input, Turns)
    return [(turn.role, "".join(map(str, turn.parts))) for turn in asked.input.turns]


def test_a_conversation_with_tools_is_spelled_as_the_convention_says() -> None:
    call = ToolCall(id="c1", tool="weather", arguments_json='{"city":"Rome","days":2}')
    result = ToolResult(id="c1", parts=[Part(text="18 °C")])
    spelled = turns(
        ask(
            Message(role=Role.ROLE_SYSTEM, parts=[Part(text="Be brief.")]),
            HI,
            Message(role=Role.ROLE_ASSISTANT, parts=[Part(tool_call=call)]),
            Message(role=Role.ROLE_TOOL, parts=[Part(tool_result=result)]),
            tools=[TIME],
        )
    )
    nothing = '{"type": "object", "properties": {}, "additionalProperties": false}'
    assert spelled == [
        (
            "system",
            'Be brief.\n\n<tools>\n{"name": "time", "description": "", "parameters": '
            f"{nothing}}}\n</tools>\nTo call one, answer with <tool_call> only.",
        ),
        ("user", "Hi"),
        (
            "assistant",
            '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome", "days": 2}}\n</tool_call>',
        ),
        ("user", "<tool_response>\n18 °C\n</tool_response>"),
    ]
    assert turns(ask(tools=[TIME]))[0][0] == "system"


def written(asked: Ask, seed: int, most: int = 300) -> str | None:
    """An answer of tokens chosen blindly among those allowed."""
    assert asked.output_format is not None
    grammars = GuidanceGrammars(TOKENIZER, TOKENIZER.vocab_size)
    guide, choice, said = grammars.compile(asked.output_format).begin(), random.Random(seed), []
    for _ in range(most):
        token = choice.choice(guide.allowed().nonzero()[:, 0].tolist())
        if token in TOKENIZER.stop_ids:
            break
        said.append(token)
        guide.take(token)
    else:
        return None
    return TOKENIZER.decode(said)


@pytest.mark.parametrize(
    ("choice", "names"),
    [(ToolChoice(required=True), {"weather", "time"}), (ToolChoice(tool="weather"), {"weather"})],
)
def test_a_required_call_keeps_to_the_schema_of_its_tool(choice: ToolChoice, names: set[str]) -> None:
    asked = ask(tools=[WEATHER, TIME], tool_choice=choice)
    seen = set()
    for seed in range(6):
        text = written(asked, seed)
        assert text is not None
        assert is_whole(text)
        call = read_call(text)
        assert call is not None
        seen.add(call.tool)
        jsonschema.validate(
            json.loads(call.arguments), CITIES if call.tool == "weather" else {"maxProperties": 0}
        )
    assert seen <= names


def test_where_a_call_is_optional_the_first_character_decides() -> None:
    asked = ask(tools=[WEATHER])
    assert asked.output_format is not None
    guide = GuidanceGrammars(TOKENIZER, TOKENIZER.vocab_size).compile(asked.output_format).begin()
    for token in TOKENIZER.encode("Hello <tool_call>, <b>"):
        assert guide.allowed()[token]
        guide.take(token)
    assert guide.allowed()[list(TOKENIZER.stop_ids)].all()
    guide = GuidanceGrammars(TOKENIZER, TOKENIZER.vocab_size).compile(asked.output_format).begin()
    for token in TOKENIZER.encode(
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    ):
        assert guide.allowed()[token]
        guide.take(token)
    allowed = guide.allowed()
    allowed[list(TOKENIZER.stop_ids)] = False
    assert not allowed.any()


def test_a_call_is_read_as_far_as_it_goes() -> None:
    text = spelled_call("weather", '{"city":"Rome"}', "arguments")
    found = read_call(text)
    assert found == Call(found.id if found else "", "weather", '{"city": "Rome"}')
    cut = read_call(text[:52])
    assert cut is not None
    assert '{"city": "Rome"}'.startswith(cut.arguments)
    assert read_call("<tool_call>\n{") is None


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"tools": [Tool(name="a b")]}, r"tools\[0\].name"),
        ({"tools": [TIME, TIME]}, "tools"),
        ({"tools": [Tool(name=f"t{number}") for number in range(65)]}, "tools"),
        ({"tools": [WEATHER, Tool(name="x", parameters="[]")]}, r"tools\[1\].parameters"),
        ({"tools": [Tool(name="x", parameters='{"typ": 1}')]}, r"tools\[0\].parameters.typ"),
        ({"tools": [TIME], "tool_choice": ToolChoice(tool="weather")}, "tool_choice.tool"),
        ({"tool_choice": ToolChoice(required=True)}, "tool_choice"),
        ({"tools": [TIME], "output_format": OutputFormat(regex="a")}, "output_format.regex"),
        ({"tools": [TIME], "conversation": None, "prompt": "x"}, "tools"),
    ],
)
def test_tools_that_make_no_sense_are_refused_by_name(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        ask(**fields)


def test_calls_come_whole_from_a_served_model_and_cut_ones_as_far_as_they_go(house: House) -> None:
    async def live() -> None:
        async with running(house) as server:
            conversation = Conversation(messages=[HI])
            tools = {
                "conversation": conversation,
                "tools": [WEATHER],
                "tool_choice": ToolChoice(required=True),
            }
            pieces = await server.ask(**tools, sampling=Sampling(max_tokens=300, seed=1), num_choices=2)
            calls = [piece for piece in pieces if piece.delta.HasField("tool_call")]
            assert {piece.choice for piece in calls} == {0, 1}
            for piece in calls:
                assert piece.finish_reason == FINISH_REASON_TOOL_CALL
                jsonschema.validate(json.loads(piece.delta.tool_call.arguments_json), CITIES)
            assert text_of(pieces) == ""
            assert pieces[-1].usage.completion_tokens > 0
            (*_, last) = await server.ask(**tools, sampling=Sampling(max_tokens=3, seed=1))
            assert last.finish_reason == FINISH_REASON_LENGTH
            plain = await server.ask(
                conversation=conversation,
                tools=[WEATHER],
                sampling=Sampling(max_tokens=8, seed=1, logit_bias={TOKENIZER.encode("<")[0]: -100}),
            )
            assert not any(piece.delta.HasField("tool_call") for piece in plain)
            assert plain[-1].finish_reason in (FINISH_REASON_STOP, FINISH_REASON_LENGTH)

    run(live())
