"""Answers in which tools may be called: a call is told whole, as what it is, and a text as it comes."""

from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from vermeil_generator.piece import Finish, Piece
from vermeil_generator.tool_spelling import CALL_BEGINS, is_whole, read_call


async def with_calls(pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
    """The same answers, with calls read out of their text."""
    said: defaultdict[int, str] = defaultdict(str)
    is_text: set[int] = set()
    async with aclosing(pieces):
        async for piece in pieces:
            if piece.choice not in is_text:
                said[piece.choice] += piece.text
                if said[piece.choice] and not said[piece.choice].startswith(CALL_BEGINS):
                    is_text.add(piece.choice)
            if piece.choice in is_text:
                yield piece
            elif piece.finish is not None:
                yield _ended(piece, said[piece.choice])
            elif piece.tokens:
                yield replace(piece, text="")


def _ended(piece: Piece, text: str) -> Piece:
    call = read_call(text)
    finish = Finish.TOOL_CALL if call and is_whole(text) else piece.finish
    return replace(piece, text="", call=call, finish=finish)
