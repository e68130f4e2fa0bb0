"""Answers of /v1/completions: whole, or as chunks of a stream."""

from collections.abc import AsyncIterator, Iterable

from vermeil.generation.v1.generation_pb2 import TokenLogprob, Usage

from vermeil_gateway.openai.answers import Envelope, Indexed, Json, Shown, finish_reason, gathered, usage
from vermeil_gateway.openai.chat_images import File

OBJECT = "text_completion"


async def whole(envelope: Envelope, pieces: AsyncIterator[Indexed], file: File, *, logprobs: bool) -> Json:
    """The answer in one piece."""
    answer = await gathered(pieces, file)
    choices = []
    for index in sorted(answer.texts):
        tokens = answer.tokens[index] if logprobs else None
        choice = _choice(index, answer.text(index), tokens, answer.reasons.get(index))
        choices.append(choice | answer.pictures(index))
    return envelope.around(choices, usage=usage(answer.counts))


async def chunks(
    envelope: Envelope, pieces: AsyncIterator[Indexed], file: File, *, logprobs: bool, include_usage: bool
) -> AsyncIterator[Json]:
    """The answer as it comes."""
    silent = {"usage": None} if include_usage else {}
    counts: list[Usage] = []
    shown = Shown(file)
    async for index, piece in pieces:
        if piece.HasField("usage"):
            counts.append(piece.usage)
        reason = finish_reason(piece.finish_reason)
        if (entry := await shown.entry(index, piece.delta)) is not None:
            yield envelope.around([_choice(index, "", None, None) | {"images": [entry]}], **silent)
        elif piece.delta.text or piece.tokens or reason:
            tokens = piece.tokens if logprobs else None
            yield envelope.around([_choice(index, piece.delta.text, tokens, reason)], **silent)
    if include_usage:
        yield envelope.around([], usage=usage(counts))


def _choice(index: int, text: str, tokens: Iterable[TokenLogprob] | None, reason: str | None) -> Json:
    return {
        "index": index,
        "text": text,
        "logprobs": None if tokens is None else _logprobs(list(tokens)),
        "finish_reason": reason,
    }


def _logprobs(tokens: list[TokenLogprob]) -> Json:
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob if token.HasField("logprob") else None for token in tokens],
        "top_logprobs": [_likeliest(token) if token.HasField("logprob") else None for token in tokens],
        "text_offset": [token.offset for token in tokens],
    }


def _likeliest(token: TokenLogprob) -> dict[str, float]:
    """By text, the token itself included; of two tokens with one text the likelier stays."""
    likeliest: dict[str, float] = {}
    for likely in token.top:
        likeliest.setdefault(likely.text, likely.logprob)
    likeliest.setdefault(token.text, token.logprob)
    return likeliest
