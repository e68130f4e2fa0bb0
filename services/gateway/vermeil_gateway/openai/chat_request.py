"""POST /v1/chat/completions: the request and what the generator is asked for it."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator
from vermeil.content.v1.content_pb2 import Message, Part, Role
from vermeil.generation.v1.generation_pb2 import Conversation
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest
from vermeil_errors import InvalidInput

from vermeil_gateway.names import resource_name
from vermeil_gateway.openai.chat_images import (
    AnswerImage,
    Closed,
    ImageUrl,
    check_together,
    media_of,
    picture_of,
    with_images,
)
from vermeil_gateway.openai.fields import GenerationFields, Neutral, supported
from vermeil_gateway.openai.tools import (
    MAX_CALLS,
    MAX_TOOLS,
    CalledTool,
    Tool,
    ToolChoice,
    check_answers,
    choice_message,
    result_part,
)

_ROLES: Mapping[str, Role.ValueType] = {
    "system": Role.ROLE_SYSTEM,
    "developer": Role.ROLE_SYSTEM,
    "user": Role.ROLE_USER,
    "assistant": Role.ROLE_ASSISTANT,
    "tool": Role.ROLE_TOOL,
}
_UNSUPPORTED_IN_CHAT: Mapping[str, Neutral] = {
    "audio": (None,),
    "function_call": (None, "none", "auto"),
    "functions": (None, []),
    "modalities": (None, ["text"], ["text", "image"], ["image", "text"]),
    "moderation": (None,),
    "prediction": (None,),
    "reasoning_effort": (None, "none"),
    "store": (None, False),
    "verbosity": (None, "medium"),
    "web_search_options": (None,),
}
_UNSUPPORTED_IN_MESSAGE: Mapping[str, Neutral] = {
    "annotations": (None, []),
    "audio": (None,),
    "function_call": (None,),
    "refusal": (None, ""),
}
_EXAMPLE: dict[str, Any] = {
    "model": "vermeil-nano",
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 64,
}


class InputAudio(Closed):
    """A sound, in base64."""

    data: str
    format: Literal["wav", "mp3"]


class ContentPart(Closed):
    """One piece of a message; `type` says which of the others is set."""

    type: Literal["text", "image_url", "input_audio"]
    text: str | None = None
    image_url: ImageUrl | None = None
    input_audio: InputAudio | None = None

    @model_validator(mode="after")
    def _holds_what_type_says(self) -> Self:
        held = self.model_fields_set - {"type"}
        if held != {self.type} or getattr(self, self.type) is None:
            raise ValueError(f"a part of type {self.type!r} holds exactly one field, {self.type!r}")
        return self


class ChatMessage(Closed):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    name: str | None = Field(default=None, max_length=64)
    """Accepted; it changes nothing: models do not tell people of one role apart."""
    content: str | list[ContentPart] | None = None
    images: list[AnswerImage] | None = None
    """Pictures of an answer, as they came."""
    tool_calls: list[CalledTool] | None = Field(default=None, max_length=MAX_CALLS)
    """Calls of an answer, as they came."""
    tool_call_id: str | None = Field(default=None, min_length=1, max_length=128)
    """Which call a tool answers."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not self.images and not self.tool_calls:
            raise ValueError("content: is missing; send a text or a list of parts")
        if self.tool_calls and self.role != "assistant":
            raise ValueError(f"tool_calls: are of answers, not of a turn of {self.role}")
        if (self.tool_call_id is not None) != (self.role == "tool"):
            raise ValueError("tool_call_id: goes with role tool, and only there")
        if self.role == "tool" and not self._is_text:
            raise ValueError("content: of a tool is text")
        if self.images and self.role != "assistant":
            raise ValueError(f"images: are of answers; in a turn of {self.role} send parts of content")
        return self

    @property
    def _is_text(self) -> bool:
        return isinstance(self.content, str) or all(part.type == "text" for part in self.content or ())


class ChatRequest(GenerationFields):
    """A conversation to continue."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    messages: list[ChatMessage] = Field(min_length=1, max_length=4096)
    """The turns so far, oldest first."""
    max_completion_tokens: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Tokens at most; default 256."""
    logprobs: bool | None = False
    """Return how likely each token was."""
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    """Return the likeliest tokens at each place, with logprobs."""

    tools: list[Tool] | None = Field(default=None, max_length=MAX_TOOLS)
    """Functions that the model may ask the caller to run."""
    tool_choice: ToolChoice | None = None
    """Whether it calls one: auto (default: it chooses), required, none, or the one that is named."""
    parallel_tool_calls: bool | None = None
    """Accepted either way: an answer makes one call at most."""

    @classmethod
    def unsupported(cls) -> Mapping[str, Neutral]:
        return _UNSUPPORTED_IN_CHAT

    @field_validator("messages", mode="before")
    @classmethod
    def _refuse_unsupported_turns(cls, turns: object) -> object:
        if not isinstance(turns, list):
            return turns
        return [_supported_turn(turn, f"messages[{place}]") for place, turn in enumerate(turns)]

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        if self.max_tokens == 0:
            raise ValueError("max_tokens: must be 1 or more in a chat")
        if None not in (self.max_tokens, self.max_completion_tokens) and (
            self.max_tokens != self.max_completion_tokens
        ):
            raise ValueError("max_tokens: differs from max_completion_tokens; set one of them")
        if self.tool_choice not in (None, "none", "auto") and not self.tools:
            raise ValueError("tool_choice: goes with tools; send some, or leave it out")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs: only with logprobs = true")
        return self

    def to_generate(self, request_id: str) -> GenerateRequest:
        """The one call that answers it."""
        turns = [_message(turn, f"messages[{place}]") for place, turn in enumerate(self.messages)]
        check_together(part.image for turn in turns for part in turn.parts)
        self._check_results()
        tools = self.tools if self.tools and self.tool_choice != "none" else ()
        return GenerateRequest(
            model=resource_name(self.model),
            conversation=Conversation(messages=turns),
            sampling=self.sampling(default_max_tokens=self.max_completion_tokens),
            num_choices=self.n or 1,
            num_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            request_id=request_id,
            output_format=self.output_format,
            tools=[tool.to_message() for tool in tools],
            tool_choice=choice_message(self.tool_choice) if tools else None,
        )

    def _check_results(self) -> None:
        called: list[str] = []
        for place, turn in enumerate(self.messages):
            if turn.tool_call_id is not None:
                check_answers(turn.tool_call_id, called, f"messages[{place}].tool_call_id")
            called += [call.id for call in turn.tool_calls or ()]


def _supported_turn(turn: object, path: str) -> object:
    if not isinstance(turn, dict):
        return turn
    if turn.get("role") == "function":
        raise InvalidInput.for_field(
            f"{path}.role", turn["role"], "is not supported", "use tools, and the role tool"
        )
    return supported(turn, _UNSUPPORTED_IN_MESSAGE, f"{path}.")


def _message(turn: ChatMessage, path: str) -> Message:
    content = turn.content or ""
    if turn.tool_call_id is not None:
        text = content if isinstance(content, str) else "".join(part.text or "" for part in content)
        return Message(role=Role.ROLE_TOOL, parts=[result_part(turn.tool_call_id, text)])
    if isinstance(content, str):
        parts = with_images(content, turn.images or (), path)
    else:
        parts = [_part(part, f"{path}.content[{place}]") for place, part in enumerate(content)]
        parts += with_images("", turn.images, path) if turn.images else []
    calls = [call.to_part() for call in turn.tool_calls or ()]
    if calls and parts == [Part(text="")]:
        parts = []
    return Message(role=_ROLES[turn.role], parts=[*parts, *calls])


def _part(part: ContentPart, path: str) -> Part:
    if part.image_url is not None:
        return Part(image=picture_of(part.image_url, f"{path}.image_url.url"))
    if part.input_audio is not None:
        sound = part.input_audio
        return Part(audio=media_of(sound.data, f"audio/{sound.format}", f"{path}.input_audio.data"))
    return Part(text=part.text or "")
