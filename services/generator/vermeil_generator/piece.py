"""What an answer is made of."""

from dataclasses import dataclass, field
from enum import Enum

from vermeil_media import Pixels

from vermeil_generator.tool_spelling import Call


class Finish(Enum):
    """Why a choice ended."""

    STOP = "stop"
    """The model ended it, or a stop string came."""
    LENGTH = "length"
    """max_tokens or the model's context was reached."""
    TOOL_CALL = "tool_call"
    """The model called a tool."""


@dataclass(frozen=True)
class Likely:
    """One of the likeliest tokens at a place."""

    id: int
    text: str
    logprob: float


@dataclass(frozen=True)
class ToldToken:
    """A token as the caller sees it."""

    id: int
    text: str
    """May hold U+FFFD where a token is part of a character."""
    logprob: float | None
    """None for the first token of a prompt."""
    top: tuple[Likely, ...]
    """The likeliest tokens at this place, best first."""
    offset: int
    """Where its text starts in prompt plus answer, in characters."""


@dataclass(frozen=True)
class Piece:
    """What was added to a choice: text, or a picture."""

    choice: int
    text: str = ""
    tokens: tuple[ToldToken, ...] = ()
    finish: Finish | None = None
    """Set in the last piece of a choice."""
    num_tokens: int = 0
    """Tokens that the model produced for it; set with finish."""
    num_cached: int = 0
    """Tokens of the prompt that were not read for it; set with finish."""
    call: Call | None = None
    """A call of a tool; then there is no text."""
    picture: Pixels | None = field(default=None, compare=False)
    """(H, W, C); then there is no text."""
