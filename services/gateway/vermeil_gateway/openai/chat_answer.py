"""Answers of /v1/chat/completions: whole, or as chunks of a stream."""

from collections.abc import AsyncIterator, Iterable

from vermeil.generation.v1.generation_pb2 import TokenLogprob, TopLogprob, Usage

from vermeil_gateway.openai.answers import Envelope, Indexed, Json, Shown, finish_reason, gathered, usage
from vermeil_gateway.openai.chat_images import File
from vermeil_gateway.openai.tools import call_entry

WHOLE = "chat.completion"
CHUNK = "chat.completion.chunk"


async def whole(envelope: Envelope, pieces: AsyncIterator[Indexed], file: File, *, logprobs: bool) -> Json:
    """The answer in one piece."""
    answer = await gathered(pieces, file)
    choices: list[Json] = [
        {
            "index": index,
            "message": answer.message(index),
            "logprobs": _logprobs(answer.tokens[index]) if logprobs else None,
            "finish_reason": answer.reasons.get(index),
        }
        for index in sorted(answer.texts)
    ]
    return envelope.around(choices, usage=usage(answer.counts))


async def chunks(
    envelope: Envelope, pieces: AsyncIterator[Indexed], file: File, *, logprobs: bool, include_usage: bool
) -> AsyncIterator[Json]:
    """The answer as it comes."""
    silent = {"usage": None} if include_usage else {}
    begun: set[int] = set()
    counts: list[Usage] = []
    shown = Shown(file)
    async for index, piece in pieces:
        if piece.HasField("usage"):
            counts.append(piece.usage)
        if index not in begun:
            begun.add(index)
            opening = {"role": "assistant", "content": "", "refusal": None}
            yield envelope.around([_choice(index, opening)], **silent)
        if (entry := await shown.entry(index, piece.delta)) is not None:
            yield envelope.around([_choice(index, {"images": [entry]})], **silent)
        elif piece.delta.HasField("tool_call"):
            call = call_entry(piece.delta.tool_call, index=0)
            yield envelope.around([_choice(index, {"tool_calls": [call]})], **silent)
        elif piece.delta.text or piece.tokens:
            spoken = _choice(index, {"content": piece.delta.text})
            spoken["logprobs"] = _logprobs(piece.tokens) if logprobs else None
            yield envelope.around([spoken], **silent)
        if reason := finish_reason(piece.finish_reason):
            yield envelope.around([_choice(index, {}, reason)], **silent)
    if include_usage:
        yield envelope.around([], usage=usage(counts))


def _choice(index: int, delta: Json, reason: str | None = None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}


def _logprobs(tokens: Iterable[TokenLogprob]) -> Json:
    content = [
        {**_token(token), "top_logprobs": [_token(likely) for likely in token.top]} for token in tokens
    ]
    return {"content": content, "refusal": None}


def _token(token: TokenLogprob | TopLogprob) -> Json:
    whole_characters = "�" not in token.text
    return {
        "token": token.text,
        "logprob": token.logprob,
        "bytes": list(token.text.encode()) if whole_characters else None,
    }
