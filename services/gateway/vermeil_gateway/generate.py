"""One request for an answer → calls to the generator, their pieces merged as they come."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from vermeil.generation.v1.generation_service_pb2 import GenerateRequest
from vermeil_errors import VermeilError

from vermeil_gateway.clients import Clients
from vermeil_gateway.openai.answers import Indexed
from vermeil_gateway.openai.words import in_openai_words
from vermeil_gateway.spent import Spent

PIECES_AHEAD = 64
"""Of several prompts together, that wait for a client that reads slowly; then the generator waits too."""


@dataclass(frozen=True)
class Answer:
    """An answer that has begun: whatever was wrong with the request would have been said before."""

    model: str
    """The version that answers, "models/{model}/versions/{version}"."""
    pieces: AsyncGenerator[Indexed, None]
    """All pieces; close it to stop the generator."""


async def begin(clients: Clients, requests: Sequence[GenerateRequest], at_once: int, spent: Spent) -> Answer:
    """Ask for answers to all prompts and wait for the first piece; `spent` counts what they cost."""
    pieces = _merged(clients, requests, at_once, spent)
    try:
        first = await anext(pieces)
    except VermeilError as error:
        raise in_openai_words(error) from error
    except BaseException:
        await pieces.aclose()
        raise
    return Answer(first[1].model, _chained(first, pieces))


async def _chained(first: Indexed, others: AsyncGenerator[Indexed, None]) -> AsyncGenerator[Indexed, None]:
    async with aclosing(others):
        yield first
        async for piece in others:
            yield piece


async def _merged(
    clients: Clients, requests: Sequence[GenerateRequest], at_once: int, spent: Spent
) -> AsyncGenerator[Indexed, None]:
    if len(requests) == 1:
        async with aclosing(spent.counting(clients.generate(requests[0]))) as pieces:
            async for piece in pieces:
                yield piece.choice, piece
        return
    arrived: asyncio.Queue[Indexed | None] = asyncio.Queue(PIECES_AHEAD)
    work = asyncio.ensure_future(_ask_all(clients, requests, at_once, spent, arrived))
    try:
        while (item := await arrived.get()) is not None:
            yield item
        await work
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _ask_all(
    clients: Clients,
    requests: Sequence[GenerateRequest],
    at_once: int,
    spent: Spent,
    arrived: "asyncio.Queue[Indexed | None]",
) -> None:
    free = asyncio.Semaphore(at_once)

    async def ask(place: int, request: GenerateRequest) -> None:
        async with free, aclosing(spent.counting(clients.generate(request))) as pieces:
            async for piece in pieces:
                await arrived.put((place * request.num_choices + piece.choice, piece))

    try:
        async with asyncio.TaskGroup() as group:
            for place, request in enumerate(requests):
                group.create_task(ask(place, request))
    except ExceptionGroup as errors:
        await arrived.put(None)
        raise errors.exceptions[0] from None
    await arrived.put(None)
