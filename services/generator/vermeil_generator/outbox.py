"""Pieces on their way from an engine's thread to those who read them in event loops.

A message of its own for every token of every answer would cost more than a small model's step (about
0.1 ms each). So pieces that come within n · 5 ms, n answers being written, travel together, at most
0.15 s; the first piece of an answer, a picture and the last piece never wait.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain, groupby
from time import monotonic
from typing import TypeGuard

from vermeil_generator.piece import Piece

SECONDS_PER_ANSWER = 0.005
MAX_SECONDS = 0.15


class Reader:
    """Where the pieces of one question go; made in the event loop of whoever reads."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self.begun: set[int] = set()
        """Choices of which something was sent."""


class Outbox:
    """Collects pieces; belongs to the engine's thread."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._pending: dict[Reader, dict[int, list[Piece | Exception]]] = {}
        self._urgent: dict[Reader, None] = {}

    def put(self, reader: Reader, choice: int, item: Piece | Exception) -> None:
        """Take a piece, or the error that ends the answer."""
        self._pending.setdefault(reader, {}).setdefault(choice, []).append(item)
        if not _is_text(item) or item.finish or choice not in reader.begun:
            reader.begun.add(choice)
            self._urgent[reader] = None

    def hand_over(self, num_running: int) -> None:
        """Send what must not wait, and all if it is time: one wake-up for each event loop."""
        now = self._clock()
        if now - self._last >= min(MAX_SECONDS, num_running * SECONDS_PER_ANSWER):
            self._last = now
            self._send(list(self._pending))
        else:
            self._send(list(self._urgent))
        self._urgent.clear()

    def _send(self, readers: Iterable[Reader]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Reader, Iterable[Piece | Exception]]]] = {}
        for reader in readers:
            items = chain.from_iterable(map(_joined, self._pending.pop(reader).values()))
            by_loop.setdefault(reader.loop, []).append((reader, items))
        for loop, parcels in by_loop.items():
            with suppress(RuntimeError):  # a loop that is closed has no readers any more
                loop.call_soon_threadsafe(_deliver, parcels)


def _joined(items: Iterable[Piece | Exception]) -> Iterator[Piece | Exception]:
    """The items of one choice, text that follows text as one piece."""
    for is_text, run in groupby(items, _is_text):
        same = list(run)
        if not is_text or len(same) == 1:
            yield from same
            continue
        pieces = [piece for piece in same if _is_text(piece)]
        text = "".join(piece.text for piece in pieces)
        tokens = tuple(chain.from_iterable(piece.tokens for piece in pieces))
        last = pieces[-1]
        yield Piece(last.choice, text, tokens, last.finish, last.num_tokens, last.num_cached, last.call)


def _is_text(item: Piece | Exception) -> TypeGuard[Piece]:
    return isinstance(item, Piece) and item.picture is None


def _deliver(parcels: Iterable[tuple[Reader, Iterable[Piece | Exception]]]) -> None:
    for reader, items in parcels:
        for item in items:
            reader.queue.put_nowait(item)
