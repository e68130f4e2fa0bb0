"""What both kinds of answers have in common: usage, reasons to end, the envelope."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vermeil.content.v1.content_pb2 import Part
from vermeil.generation.v1.generation_pb2 import FinishReason, TokenLogprob, Usage
from vermeil.generation.v1.generation_service_pb2 import GenerateResponse

from vermeil_gateway.openai.chat_images import File, image_entry
from vermeil_gateway.openai.tools import call_entry

Json = dict[str, Any]

Indexed = tuple[int, GenerateResponse]
"""A piece with the number of its choice among those of all prompts."""

_REASONS: Mapping[FinishReason.ValueType, str | None] = {
    FinishReason.FINISH_REASON_UNSPECIFIED: None,
    FinishReason.FINISH_REASON_STOP: "stop",
    FinishReason.FINISH_REASON_LENGTH: "length",
    FinishReason.FINISH_REASON_TOOL_CALL: "tool_calls",
}


@dataclass(frozen=True)
class Envelope:
    """What every chunk of one answer repeats."""

    id: str
    """Such as "chatcmpl-" and the request id."""
    kind: str
    """OpenAI's name of it, such as "chat.completion"."""
    model: str
    """The version that answers, such as "vermeil-nano@3"."""
    created: int
    """Seconds since 1970."""

    @classmethod
    def now(cls, id_: str, kind: str, model: str) -> "Envelope":
        """An envelope of this moment."""
        return cls(id_, kind, model, int(time.time()))

    def around(self, choices: list[Json], **more: object) -> Json:
        """The envelope with its choices."""
        return {
            "id": self.id,
            "object": self.kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
            **more,
        }


class Shown:
    """Pictures of an answer as they come, with their number and the characters of text before each."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._lengths: Counter[int] = Counter()
        self._counts: Counter[int] = Counter()

    async def entry(self, index: int, delta: Part) -> Json | None:
        """The picture in a piece of a choice; None where that is text."""
        if not delta.HasField("image"):
            self._lengths[index] += len(delta.text)
            return None
        self._counts[index] += 1
        return await image_entry(delta.image, self._file, self._counts[index] - 1, self._lengths[index])


@dataclass
class Gathered:
    """Choices put together from their pieces."""

    texts: dict[int, list[str]] = field(default_factory=dict)
    images: dict[int, list[Json]] = field(default_factory=dict)
    calls: dict[int, list[Json]] = field(default_factory=dict)
    tokens: dict[int, list[TokenLogprob]] = field(default_factory=dict)
    reasons: dict[int, str | None] = field(default_factory=dict)
    counts: list[Usage] = field(default_factory=list)

    def text(self, index: int) -> str:
        """All that a choice said."""
        return "".join(self.texts[index])

    def message(self, index: int) -> Json:
        """What a choice said, in a chat."""
        calls = self.calls.get(index)
        content = self.text(index) or (None if calls else "")
        message: Json = {"role": "assistant", "content": content, "refusal": None, **self.pictures(index)}
        return message | ({"tool_calls": calls} if calls else {})

    def pictures(self, index: int) -> Json:
        """The field with the pictures of a choice; nothing where there are none."""
        return {"images": self.images[index]} if index in self.images else {}


async def gathered(pieces: AsyncIterator[Indexed], file: File) -> Gathered:
    """All pieces of an answer."""
    all_ = Gathered()
    shown = Shown(file)
    async for index, piece in pieces:
        all_.texts.setdefault(index, []).append(piece.delta.text)
        if (entry := await shown.entry(index, piece.delta)) is not None:
            all_.images.setdefault(index, []).append(entry)
        if piece.delta.HasField("tool_call"):
            all_.calls.setdefault(index, []).append(call_entry(piece.delta.tool_call))
        all_.tokens.setdefault(index, []).extend(piece.tokens)
        if piece.finish_reason:
            all_.reasons[index] = finish_reason(piece.finish_reason)
        if piece.HasField("usage"):
            all_.counts.append(piece.usage)
    return all_


def finish_reason(reason: FinishReason.ValueType) -> str | None:
    """OpenAI's word for it; None while the choice goes on."""
    return _REASONS[reason]


def usage(counts: Iterable[Usage]) -> Json:
    """The sum over prompts."""
    prompt = completion = cached = 0
    for count in counts:
        prompt += count.prompt_tokens
        completion += count.completion_tokens
        cached += count.cached_prompt_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
