"""One conversation of several: what it has been asked and has said, and where it stands.

It reads its prompt, writes, draws where it says <boi>, reads what it drew, and writes on.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from vermeil_model.conversation import Markers
from vermeil_model.decoder import FinishReason, Request
from vermeil_model.easel import Drawing
from vermeil_model.fused_memory import Memory
from vermeil_model.sampling import Continuation, SamplingParameters, TokenGuide, Uniforms

Mark = int | str
"""A token; in place of the <eoi> after a picture its sha256."""
DRAWN = ""
"""Stands for a drawn picture: whoever shows it again shows its pixels, which are rounded."""


@dataclass(eq=False)
class Talk:
    """A conversation with a fused model."""

    number: int
    parameters: SamplingParameters
    marks: list[Mark] = field(repr=False)
    """What it has read or is about to read, one a token."""
    tokens: list[int] = field(repr=False)
    """The prompt, then what was chosen so far."""
    num_given: int
    guide: TokenGuide | None
    uniforms: Uniforms = field(repr=False)
    pictures: Sequence[Tensor] = field(repr=False)
    """Of the prompt."""
    memory: Memory | None = field(default=None, repr=False)
    """What it has read, while it neither waits nor writes."""
    unread: deque[list[int] | Tensor] = field(default_factory=deque, repr=False)
    """What is to be read before it writes: runs of tokens, and pictures."""
    num_cached: int = 0
    """How much of the prompt had been read before, in tokens and patches."""
    num_drawn: int = 0
    drawing: Drawing | None = field(default=None, repr=False)
    ends_after: FinishReason | None = None
    """Why it ends once the picture is drawn."""

    @classmethod
    def of(cls, request: Request, number: int, markers: Markers) -> Talk:
        """A conversation that has read nothing."""
        return cls(
            number=number,
            parameters=request.parameters,
            marks=marks_of(request, markers),
            tokens=list(request.prompt),
            num_given=len(request.prompt),
            guide=request.guide,
            uniforms=Uniforms(request.parameters.seed),
            pictures=request.pictures,
        )

    @property
    def num_said(self) -> int:
        """Tokens that have been chosen."""
        return len(self.tokens) - self.num_given

    @property
    def continuation(self) -> Continuation:
        """It as sampling sees it."""
        return Continuation(self.parameters, self.tokens, self.num_given, self.guide)

    def next_uniform(self) -> float:
        """For the next token."""
        return 0.0 if self.parameters.greedy else self.uniforms.next()


def marks_of(request: Request, markers: Markers) -> list[Mark]:
    """A prompt as it is told from others."""
    marks: list[Mark] = list(request.prompt)
    places = [place for place, token in enumerate(request.prompt) if token == markers.begin]
    for place, picture_CHW in zip(places, request.pictures, strict=True):
        marks[place + 1] = hashlib.sha256(picture_CHW.numpy(force=True).tobytes()).hexdigest()
    return marks


def num_pictures(marks: Sequence[Mark]) -> int:
    """How many pictures these are behind."""
    return sum(isinstance(mark, str) for mark in marks)
