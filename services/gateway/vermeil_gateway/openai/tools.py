"""Tools in conversations: what may be called, what was called, and what it answered."""

import json
from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from vermeil.content.v1.content_pb2 import Part, ToolCall, ToolResult
from vermeil.generation.v1 import generation_pb2 as wire
from vermeil_errors import InvalidInput

from vermeil_gateway.openai.chat_images import Closed

NAME = r"^[a-zA-Z0-9_-]{1,64}$"
MAX_TOOLS = 64
MAX_CALLS = 128
"""Of one turn that is sent back."""

Json = dict[str, Any]


class FunctionTool(Closed):
    """What may be called."""

    name: str = Field(pattern=NAME)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """JSON Schema of its arguments; default none."""
    strict: bool | None = None
    """Accepted either way: arguments always keep to the schema."""


class Tool(Closed):
    """A function that the model may ask the caller to run."""

    type: Literal["function"]
    function: FunctionTool

    def to_message(self) -> wire.Tool:
        """As the contract says it."""
        schema = self.function.parameters
        return wire.Tool(
            name=self.function.name,
            description=self.function.description or "",
            parameters=json.dumps(schema, ensure_ascii=False) if schema else "",
        )


class NamedFunction(Closed):
    """The name of a tool."""

    name: str


class NamedTool(Closed):
    """The one tool to call."""

    type: Literal["function"]
    function: NamedFunction


ToolChoice = Literal["none", "auto", "required"] | NamedTool


class CalledFunction(Closed):
    """What was called."""

    name: str = Field(pattern=NAME)
    arguments: str
    """JSON."""


class CalledTool(Closed):
    """A call of an earlier answer, as it came."""

    id: str = Field(min_length=1, max_length=128)
    type: Literal["function"] = "function"
    function: CalledFunction

    @model_validator(mode="after")
    def _arguments_are_json(self) -> Self:
        try:
            json.loads(self.function.arguments or "{}")
        except (ValueError, RecursionError) as error:
            raise ValueError(f"function.arguments: is not JSON: {error}; send them as they came") from error
        return self

    def to_part(self) -> Part:
        """As the contract says it."""
        called = self.function
        arguments = called.arguments or "{}"
        return Part(tool_call=ToolCall(id=self.id, tool=called.name, arguments_json=arguments))


def result_part(id_: str, text: str) -> Part:
    """What a tool answered to a call."""
    return Part(tool_result=ToolResult(id=id_, parts=[Part(text=text)]))


def choice_message(choice: ToolChoice | None) -> wire.ToolChoice | None:
    """As the contract says it; None lets the model choose."""
    if isinstance(choice, NamedTool):
        return wire.ToolChoice(tool=choice.function.name)
    return wire.ToolChoice(required=True) if choice == "required" else None


def check_answers(id_: str, called: Sequence[str], path: str) -> None:
    """Refuse the result of a call that nobody made."""
    if id_ not in called:
        raise InvalidInput.for_field(
            path, id_, "answers no call before it", "send the assistant's turn with tool_calls first"
        )


def call_entry(call: ToolCall, index: int | None = None) -> Json:
    """A call as answers carry it; in a stream with its number."""
    place = {} if index is None else {"index": index}
    function = {"name": call.tool, "arguments": call.arguments_json}
    return {**place, "id": call.id, "type": "function", "function": function}
