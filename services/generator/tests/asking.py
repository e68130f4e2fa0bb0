"""Asking an engine whose decoder knows its answers: what the tests of engines share."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from vermeil_generator.engine import Engine
from vermeil_generator.fakes import FakeDecoder
from vermeil_generator.patience import Patience
from vermeil_generator.piece import Finish, Piece
from vermeil_generator.question import Prompt, Question
from vermeil_model import SamplingParameters, TokenScore

WORDS = ["<end>", "one", " two", " three", " four", "\n", "STOP", " five"]
LONG = [1, *[2] * 60_000, 0]
"""At a millisecond a step no test sees its end, for none runs that long."""


class Words:
    """A vocabulary of words; id 0 ends an answer and has no text."""

    def text(self, token_id: int) -> str:
        return WORDS[token_id]

    def stream(self) -> "Words":
        return Words()

    def add(self, token_id: int) -> str:
        return WORDS[token_id] if token_id else ""

    def finish(self) -> str:
        return ""


def question(first: int, *, num_choices: int = 1, **changes: Any) -> Question:
    parameters = SamplingParameters(max_tokens=changes.pop("max_tokens", 100_000), num_logprobs=None)
    values: dict[str, Any] = {
        "prompt": Prompt((first,), num_hidden=0, text="?"),
        "parameters": parameters,
        "stop": (),
        "num_choices": num_choices,
        "num_logprobs": None,
        "echo": False,
        **changes,
    }
    return Question(**values)


@contextmanager
def engine_of(
    decoder: FakeDecoder,
    *,
    max_waiting: int = 8,
    score: Callable[..., list[TokenScore]] | None = None,
    patience: Patience | None = None,
) -> Iterator[Engine]:
    def judged(ids: Any, top: int) -> list[TokenScore]:
        return [TokenScore(token, None, ()) for token in ids]

    engine = Engine("test", lambda: decoder, score or judged, Words(), max_waiting, patience or Patience(60))
    try:
        yield engine
    finally:
        decoder.gate.open()
        engine.close()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 60))


async def read(pieces: AsyncGenerator[Piece, None]) -> dict[int, tuple[str, Finish | None, int]]:
    texts: dict[int, str] = {}
    ends: dict[int, tuple[Finish | None, int]] = {}
    async for piece in pieces:
        texts[piece.choice] = texts.get(piece.choice, "") + piece.text
        if piece.finish:
            ends[piece.choice] = (piece.finish, piece.num_tokens)
    return {choice: (text, *ends[choice]) for choice, text in texts.items()}


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.001)


async def all_of(pieces: AsyncGenerator[Piece, None]) -> list[Piece]:
    return [piece async for piece in pieces]
