"""Tokens → text that may be shown: whole characters only, and nothing from a stop string on.

Text that could be the beginning of a stop string is held back until it is clear. A token is told
once the text before it is out, so that tokens and text of a stream agree. Knows no model.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from vermeil_generator.piece import ToldToken


class TokenStream(Protocol):
    """Ids to text, never half a character: `vermeil_data.Detokenizer`."""

    def add(self, token_id: int) -> str:
        """The text that this id completes."""

    def finish(self) -> str:
        """What is left at the end."""


class Shown(NamedTuple):
    """What may be shown now."""

    text: str = ""
    tokens: tuple[ToldToken, ...] = ()


class AnswerText:
    """The text of one choice.

    Args:
        stream: A new stream of ids to text.
        stop: Strings that end the answer; they are not shown.
        offset: Characters of the prompt that stand before it.
    """

    def __init__(self, stream: TokenStream, stop: Sequence[str], offset: int) -> None:
        self._stream = stream
        self._stop = tuple(stop)
        self._held = ""
        self._shown_to = offset
        self._untold: deque[ToldToken] = deque()
        self.is_stopped = False
        """True once a stop string came."""

    @property
    def offset(self) -> int:
        """Where the text of the next token starts, in characters."""
        return self._shown_to + len(self._held)

    def add(self, token_id: int, told: ToldToken | None = None) -> Shown:
        """What a new token lets us show; `told` comes back when its text does."""
        if told is not None:
            self._untold.append(told)
        elif not self._stop and not self._untold:  # most answers; there are many tokens
            text = self._stream.add(token_id)
            self._shown_to += len(text)
            return Shown(text)
        self._held += self._stream.add(token_id)
        if self._cut():
            return self._show(len(self._held))
        return self._show(len(self._held) - self._possible_stop())

    def finish(self) -> Shown:
        """The rest; nothing comes after a stop string."""
        if not self.is_stopped:
            self._held += self._stream.finish()
            self._cut()
        shown = self._show(len(self._held))
        if self.is_stopped:
            return shown
        rest = tuple(self._untold)
        self._untold.clear()
        return Shown(shown.text, shown.tokens + rest)

    def _cut(self) -> bool:
        """Drop the first stop string and what follows it."""
        places = [place for stop in self._stop if (place := self._held.find(stop)) >= 0]
        if places:
            self._held = self._held[: min(places)]
            self.is_stopped = True
        return bool(places)

    def _possible_stop(self) -> int:
        """Length of the longest end of the text that begins a stop string."""
        return max((_overlap(self._held, stop) for stop in self._stop), default=0)

    def _show(self, length: int) -> Shown:
        text, self._held = self._held[:length], self._held[length:]
        self._shown_to += length
        tokens: list[ToldToken] = []
        while self._untold and self._untold[0].offset < self._shown_to:
            tokens.append(self._untold.popleft())
        return Shown(text, tuple(tokens))


def _overlap(text: str, stop: str) -> int:
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
