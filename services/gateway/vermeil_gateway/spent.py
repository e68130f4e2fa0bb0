"""What a request has cost so far, told by the services whose answers pass through."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar, cast

from starlette.requests import Request
from vermeil.generation.v1.generation_pb2 import ImageUsage, Usage
from vermeil.generation.v1.generation_service_pb2 import GenerateImagesResponse, GenerateResponse

Piece = TypeVar("Piece", GenerateResponse, GenerateImagesResponse)


@dataclass
class Spent:
    """Tokens of one request."""

    read: int = 0
    """Tokens of prompts."""
    written: int = 0
    """Tokens of answers; a picture counts its patches."""

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.read + self.written

    async def counting(self, pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
        """The same pieces; an answer that is broken off costs one token for each piece that came."""
        num_pieces, ended = 0, False
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    num_pieces += 1
                    if piece.HasField("usage"):
                        self._add(piece.usage)
                        ended = True
                    yield piece
        finally:
            if not ended:
                self.written += num_pieces

    def _add(self, usage: Usage | ImageUsage) -> None:
        self.read += usage.prompt_tokens
        self.written += usage.completion_tokens if isinstance(usage, Usage) else usage.image_patches


def spent_by(request: Request) -> Spent:
    """What this request has cost; kept with it from the first layer on."""
    return cast("Spent", request.state.spent)
