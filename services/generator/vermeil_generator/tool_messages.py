"""The contract's tools, calls and results ↔ what the generator works with."""

import re
from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.json_format import MessageToJson
from vermeil.content.v1.content_pb2 import ToolCall, ToolResult
from vermeil.generation.v1 import generation_pb2 as wire
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest
from vermeil_errors import InvalidInput

from vermeil_generator.ask import Conversation, Input, Turn
from vermeil_generator.output_format import JsonSchema, OutputFormat, Regex, Tool, ToolCalls
from vermeil_generator.tool_spelling import spelled_call, spelled_result, spelled_tools

MAX_TOOLS = 64
_NAME = re.compile(r"[\w-]{1,64}", re.ASCII)
_NO_ARGUMENTS = '{"type": "object", "properties": {}, "additionalProperties": false}'


def tool_calls_from_message(request: GenerateRequest, otherwise: OutputFormat | None) -> ToolCalls | None:
    """What answers may call; None without tools. `otherwise` is the format of texts."""
    choice, wanted = request.tool_choice, request.tool_choice.WhichOneof("kind")
    if not request.tools:
        if wanted is not None:
            raise InvalidInput("goes with tools", field="tool_choice", fix="send tools, or leave it out")
        return None
    if isinstance(otherwise, Regex):
        raise InvalidInput(
            "is not possible together with tools", field="output_format.regex", fix="leave one of them out"
        )
    if request.WhichOneof("input") != "conversation":
        raise InvalidInput("are called in conversations", field="tools", fix="send a conversation")
    tools = tuple(_tool(tool, f"tools[{place}]") for place, tool in enumerate(request.tools))
    names = [tool.name for tool in tools]
    if len(tools) > MAX_TOOLS or len(set(names)) < len(names):
        raise InvalidInput(
            f"are {len(tools)} with {len(set(names))} names",
            field="tools",
            fix=f"send at most {MAX_TOOLS}, each name once",
        )
    if wanted == "tool" and choice.tool not in names:
        raise InvalidInput.for_field("tool_choice.tool", choice.tool, "is not in tools", "name one of them")
    required = wanted == "tool" or choice.required
    called = tuple(tool for tool in tools if wanted != "tool" or tool.name == choice.tool)
    return ToolCalls(called, required, None if required else _of_text(otherwise))


def with_tools(given: Input, tools: Sequence[Tool]) -> Input:
    """The same turns, with tools in the instructions at their head."""
    assert isinstance(given, Conversation)
    text = spelled_tools(tools)
    first = given.turns[0]
    if first.role != "system":
        return Conversation((Turn("system", (text,)), *given.turns))
    return Conversation((replace(first, parts=(*first.parts, f"\n\n{text}")), *given.turns[1:]))


def call_from_message(call: ToolCall, field: str) -> str:
    """A call of an earlier turn as text."""
    _check_name(call.tool, f"{field}.tool")
    arguments = call.arguments_json or MessageToJson(call.arguments)
    return spelled_call(call.tool, arguments, f"{field}.arguments_json")


def result_from_message(result: ToolResult, field: str) -> str:
    """What a tool answered, as text."""
    texts = []
    for place, part in enumerate(result.parts):
        if part.WhichOneof("kind") != "text":
            raise InvalidInput(
                "no model reads this", field=f"{field}.parts[{place}]", fix="send what came back as text"
            )
        texts.append(part.text)
    return spelled_result("".join(texts))


def _tool(tool: wire.Tool, field: str) -> Tool:
    _check_name(tool.name, f"{field}.name")
    try:
        parameters = JsonSchema(tool.parameters or _NO_ARGUMENTS)
    except InvalidInput as error:
        path = str(error.field).replace(JsonSchema.field, f"{field}.parameters")
        raise InvalidInput(error.message, field=path, value=error.value, fix=error.fix) from error
    return Tool(tool.name, tool.description, parameters)


def _check_name(name: str, field: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput.for_field(
            field, name, "is no name of a tool", 'write 1 to 64 characters of a-z, A-Z, 0-9, "_" and "-"'
        )


def _of_text(format_: OutputFormat | None) -> JsonSchema | None:
    return format_ if isinstance(format_, JsonSchema) else None
