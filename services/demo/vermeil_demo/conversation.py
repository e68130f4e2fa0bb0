"""Conversations as the page keeps them ↔ as the gateway takes them, and answers as they grow.

Messages of the page have a role and a list of content: texts and files. One with a title in its metadata
says why there was no answer; no model ever reads it, nor the question that it belongs to.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from vermeil_client import AsyncVermeil, Piece, user_turn
from vermeil_errors import VermeilError

from vermeil_demo.files import kept, sendable
from vermeil_demo.markup import data_url
from vermeil_demo.problems import sentence

Message = Mapping[str, Any]
Turn = dict[str, Any]
Look = TypeVar("Look")

NO_ANSWER = "No answer"
"""Title of messages that say why."""
_SECONDS = 0.05
"""Least time between two looks at a growing answer: quick models write hundreds of tokens a second."""


async def answer(
    vermeil: AsyncVermeil, asked: Mapping[str, Any], history: Sequence[Message], model: str, **options: Any
) -> AsyncGenerator[list[Message], None]:
    """The answer to what was asked, as messages of the page, again and again while it grows."""
    try:
        turns = await asyncio.to_thread(lambda: [*turns_of(history), question_of(asked)])
        async with aclosing(vermeil.chat(model, turns, **options)) as pieces:
            async for look in paced(grown(pieces)):
                yield look
    except VermeilError as error:
        yield [{"role": "assistant", "content": sentence(error), "metadata": {"title": NO_ANSWER}}]


def question_of(asked: Mapping[str, Any]) -> Turn:
    """What the page's field holds, as a turn."""
    return user_turn(asked.get("text") or "", [sendable(file) for file in asked.get("files") or ()])


def turns_of(history: Sequence[Message]) -> list[Turn]:
    """What the model is told of the conversation so far."""
    turns: list[Turn] = []
    for message in history:
        if (message.get("metadata") or {}).get("title") == NO_ANSWER:
            while turns and turns[-1]["role"] == "user":
                turns.pop()
            continue
        parts = _parts(message["content"])
        if message["role"] == "user":
            text = "\n".join(part for part in parts if isinstance(part, str))
            turns.append(user_turn(text, [part for part in parts if isinstance(part, bytes)]))
        else:
            turns.append(_answer_turn(parts))
    return _joined(turns)


def _answer_turn(parts: Sequence[str | bytes]) -> Turn:
    """An answer as the gateway gave it: its text, and its pictures with where they stood in it."""
    text, images = "", list[Turn]()
    for part in parts:
        if isinstance(part, str):
            text += part
        else:
            image = {"type": "image_url", "image_url": {"url": data_url(part)}}
            images.append({**image, "index": len(images), "offset": len(text)})
    turn: Turn = {"role": "assistant", "content": text}
    return turn | {"images": images} if images else turn


def _parts(content: Any) -> list[str | bytes]:
    """Texts, and pictures as PNG files."""
    if isinstance(content, str):
        return [content]
    if isinstance(content, Mapping):
        content = [content]
    parts: list[str | bytes] = []
    for each in content:
        if isinstance(each, str):
            parts.append(each)
        elif "text" in each:
            parts.append(each["text"])
        else:
            parts.append(sendable((each.get("file") or each)["path"]))
    return parts


def _joined(turns: Sequence[Turn]) -> list[Turn]:
    """Turns of one role that follow one another as one: the page shows texts and pictures apart."""
    joined: list[Turn] = []
    for turn in turns:
        if not joined or joined[-1]["role"] != turn["role"] or turn["role"] == "assistant":
            joined.append(turn)
            continue
        joined[-1] = {"role": "user", "content": [*_list(joined[-1]["content"]), *_list(turn["content"])]}
    return joined


def _list(content: str | list[Turn]) -> list[Turn]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


async def words(pieces: AsyncIterable[Piece]) -> AsyncGenerator[str, None]:
    """The text of an answer as it grows."""
    text = ""
    async for piece in pieces:
        text += piece.text
        yield text


async def grown(pieces: AsyncIterable[Piece]) -> AsyncGenerator[list[Message], None]:
    """The messages of an answer after each piece: texts and pictures in the order they came."""
    content: list[Any] = [""]
    async for piece in pieces:
        content[-1] += piece.text
        for image in piece.images:
            content[-1:] = [*([content[-1]] if content[-1] else []), {"path": kept(image.png)}, ""]
        shown = content if content[-1] or len(content) == 1 else content[:-1]
        yield [{"role": "assistant", "content": list(shown)}]


async def paced(
    looks: AsyncIterable[Look], clock: Callable[[], float] = time.monotonic
) -> AsyncGenerator[Look, None]:
    """Those of the looks that people can tell apart; the last always."""
    shown_at = clock() - _SECONDS
    unseen: Look | None = None
    async for look in looks:
        unseen = look
        if clock() - shown_at >= _SECONDS:
            yield look
            shown_at, unseen = clock(), None
    if unseen is not None:
        yield unseen
