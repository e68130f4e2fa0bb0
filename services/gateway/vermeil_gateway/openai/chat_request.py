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

_ROLES: Mapping[str, Role.ValueType] = {
    "system": Role.ROLE_SYSTEM,
    "developer": Role.ROLE_SYSTEM,
    "user": Role.ROLE_USER,
    "assistant": Role.ROLE_ASSISTANT,
}
_UNSUPPORTED_IN_CHAT: Mapping[str, Neutral] = {
    "audio": (None,),
    "function_call": (None, "none", "auto"),
    "functions": (None, []),
    "modalities": (None, ["text"], ["text", "image"], ["image", "text"]),
    "moderation": (None,),
    "parallel_tool_calls": (None, True, False),
    "prediction": (None,),
    "reasoning_effort": (None, "none"),
    "store": (None, False),
    "tool_choice": (None, "none", "auto"),
    "tools": (None, []),
    "verbosity": (None,),
    "web_search_options": (None,),
}
_UNSUPPORTED_IN_MESSAGE: Mapping[str, Neutral] = {
    "annotations": (None, []),
    "audio": (None,),
    "function_call": (None,),
    "name": (None,),
    "refusal": (None, ""),
    "tool_call_id": (None,),
    "tool_calls": (None, []),
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

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[ContentPart] | None = None
    images: list[AnswerImage] | None = None
    """Pictures of an answer, as they came."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not self.images:
            raise ValueError("content: is missing; send a text or a list of parts")
        if self.images and self.role != "assistant":
            raise ValueError(f"images: are of answers; in a turn of {self.role} send parts of content")
        return self


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
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs: only with logprobs = true")
        return self

    def to_generate(self, request_id: str) -> GenerateRequest:
        """The one call that answers it."""
        turns = [_message(turn, f"messages[{place}]") for place, turn in enumerate(self.messages)]
        check_together(part.image for turn in turns for part in turn.parts)
        return GenerateRequest(
            model=resource_name(self.model),
            conversation=Conversation(messages=turns),
            sampling=self.sampling(default_max_tokens=self.max_completion_tokens),
            num_choices=self.n or 1,
            num_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            request_id=request_id,
            output_format=self.output_format,
        )


def _supported_turn(turn: object, path: str) -> object:
    if not isinstance(turn, dict):
        return turn
    if turn.get("role") in ("tool", "function"):
        raise InvalidInput.for_field(
            f"{path}.role", turn["role"], "is not supported", "there are no tools here"
        )
    return supported(turn, _UNSUPPORTED_IN_MESSAGE, f"{path}.")


def _message(turn: ChatMessage, path: str) -> Message:
    content = turn.content or ""
    if isinstance(content, str):
        parts = with_images(content, turn.images or (), path)
    else:
        parts = [_part(part, f"{path}.content[{place}]") for place, part in enumerate(content)]
        parts += with_images("", turn.images, path) if turn.images else []
    return Message(role=_ROLES[turn.role], parts=parts)


def _part(part: ContentPart, path: str) -> Part:
    if part.image_url is not None:
        return Part(image=picture_of(part.image_url, f"{path}.image_url.url"))
    if part.input_audio is not None:
        sound = part.input_audio
        return Part(audio=media_of(sound.data, f"audio/{sound.format}", f"{path}.input_audio.data"))
    return Part(text=part.text or "")
