"""How tools are spelled in a conversation: one convention for every chat model, that of Hermes and Qwen.

    system      <tools>
                {"name": "weather", "description": "…", "parameters": {…}}
                </tools>
                To call one, answer with <tool_call> only.
    assistant   <tool_call>
                {"name": "weather", "arguments": {"city": "Rome"}}
                </tool_call>
    user        <tool_response>
                18 °C
                </tool_response>

The marks are plain text: vocabularies have none for tools. An answer that begins with "<" is a call.
"""

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from vermeil_errors import InvalidInput

from vermeil_generator.output_format import Tool

CALL_BEGINS = "<"
"""No text of an answer begins so where tools may be called."""
AFTER_ARGUMENTS = "}\n</tool_call>"
_CALL = re.compile(
    r'<tool_call>\n\{"name": "(?P<name>[\w-]{1,64})", "arguments": (?P<arguments>.*)', re.DOTALL | re.ASCII
)


@dataclass(frozen=True)
class Call:
    """A call that the model made."""

    id: str
    tool: str
    arguments: str
    """As JSON; the beginning of it where the answer was cut off."""


def spelled_tools(tools: Sequence[Tool]) -> str:
    """What instructions say of tools."""
    lines = [
        json.dumps(
            {"name": each.name, "description": each.description, "parameters": each.parameters.schema},
            ensure_ascii=False,
        )
        for each in tools
    ]
    return "\n".join(["<tools>", *lines, "</tools>", "To call one, answer with <tool_call> only."])


def before_arguments(tool: str) -> str:
    """How a call begins."""
    return f'<tool_call>\n{{"name": {json.dumps(tool)}, "arguments": '


def spelled_call(tool: str, arguments: str, field: str) -> str:
    """A call of an earlier turn; errors call its arguments `field`."""
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidInput.for_field(
            field, arguments[:60], f"is not JSON: {error}", "send the arguments as they came"
        ) from error
    return before_arguments(tool) + json.dumps(value, ensure_ascii=False) + AFTER_ARGUMENTS


def spelled_result(text: str) -> str:
    """What a tool answered."""
    return f"<tool_response>\n{text}\n</tool_response>"


def read_call(text: str) -> Call | None:
    """The call that an answer makes, as far as it goes; None before its arguments begin."""
    found = _CALL.fullmatch(text)
    if found is None:
        return None
    return Call(f"call_{uuid.uuid4().hex}", found["name"], found["arguments"].removesuffix(AFTER_ARGUMENTS))


def is_whole(text: str) -> bool:
    """Whether a call has come to its end."""
    return text.endswith(AFTER_ARGUMENTS)
