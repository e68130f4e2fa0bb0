"""Text and pictures in one conversation: what was read stays read, and each side may show a picture.

On <boi> a picture is drawn against the memory, its clean copy is read, <eoi> follows and text goes on. Works
for every fusion, by the methods of FusedModel alone. Unusual: a conversation can be branched, so a second
question about the same picture costs no second look at it.

Letters: B rows, T tokens, C channels, H height, W width, V vocabulary.
"""
# ruff: noqa: N815

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from vermeil_errors import InvalidInput

from vermeil_model.decoder import FinishReason, TokenEvent
from vermeil_model.easel import DrawingParameters
from vermeil_model.fused_memory import Memory
from vermeil_model.fused_model import FusedModel
from vermeil_model.image_sampling import Denoiser, SamplingStep, steps_in_context
from vermeil_model.patches import check_pictures
from vermeil_model.sampling import Continuation, SamplingParameters, SamplingPlan, TokenGuide, Uniforms

_FAR_APART = 0x9E3779B9
"""Between the pictures of an answer: no small multiples of it meet in the 32 bits that noise is drawn by."""


class Markers(NamedTuple):
    """Tokens around a picture."""

    begin: int
    """<boi>"""
    end: int
    """<eoi>"""


class PictureEvent(NamedTuple):
    """A picture that was drawn."""

    image_CHW: Tensor
    """float32, about −1 … 1."""
    seed: int
    """Of its noise."""
    sequence: int = 0
    """As in TokenEvent."""


class BrokenEvent(NamedTuple):
    """The end of a conversation whose prompt cannot be read, or whose picture cannot be drawn."""

    error: Exception
    """Why."""
    sequence: int
    """As in TokenEvent."""


class Conversation:
    """One conversation with a fused model; `painter` is its frozen form for drawing, made when needed."""

    def __init__(self, model: FusedModel, markers: Markers, *, painter: Denoiser | None = None) -> None:
        self._model = model
        self._markers = markers
        self._painter = painter
        self._memory = model.begin(1)
        self._tokens: list[int] = []
        self._pictures_read: list[int] = []
        """Pictures that had been read after each token."""
        self._logits_1V: Tensor | None = None

    def branch(self, num_tokens: int | None = None) -> Conversation:
        """Another conversation that has read the same, and goes its own way from here.

        With `num_tokens` it has read only so many of the tokens, markers counted, and the pictures between
        them; it must read on before it replies.
        """
        branched = copy.copy(self)
        branched._memory = self._memory.rows([0])
        branched._tokens, branched._pictures_read = (
            self._tokens[:num_tokens],
            self._pictures_read[:num_tokens],
        )
        if len(branched._tokens) < len(self._tokens):
            num_pictures = branched._pictures_read[-1] if branched._pictures_read else 0
            branched._memory.go_back([len(branched._tokens)], [num_pictures])
            branched._logits_1V = None
        return branched

    @property
    def num_tokens(self) -> int:
        """Tokens that have been read, markers counted."""
        return len(self._tokens)

    @property
    def length(self) -> int:
        """What has been read, in tokens and patches."""
        return self._memory.lengths[0]

    @property
    def num_bytes(self) -> int:
        """What its memory takes."""
        return self._memory.num_bytes

    @property
    def room(self) -> int:
        """Rotary positions left in the model's context."""
        return self._model.config.text.context_length - self._memory.positions[0]

    def read_tokens(self, tokens: Sequence[int]) -> None:
        """Read text."""
        check_tokens(tokens, self._model.config.text.vocab_size)
        if not tokens:
            return
        logits_1TV = self._model.read_text(self._memory, torch.tensor([list(tokens)], device=self._device))
        self._logits_1V = logits_1TV[:, -1].float()
        self._tokens.extend(tokens)
        self._pictures_read.extend([self._memory.num_pictures[0]] * len(tokens))

    def read_picture(self, image_CHW: Tensor) -> None:
        """Read a given picture of −1 … 1 and the markers around it."""
        check_pictures(image_CHW[None], self._model.config.image, "a model")
        self._check_room(self._model.config.picture_stride + 2)
        self.read_tokens([self._markers.begin])
        self._take(image_CHW)

    def reply(
        self,
        parameters: SamplingParameters,
        drawing: DrawingParameters | None = None,
        *,
        most_pictures: int = 1,
    ) -> Iterator[TokenEvent | PictureEvent]:
        """Go on until a stop token, the most tokens or the end of the context; what is said is read.

        Markers are reported like other tokens.
        """
        events = self.reply_in_steps(parameters, drawing, most_pictures=most_pictures)
        return (event for event in events if not isinstance(event, SamplingStep))

    def reply_in_steps(
        self,
        parameters: SamplingParameters,
        drawing: DrawingParameters | None = None,
        *,
        most_pictures: int = 1,
        guide: TokenGuide | None = None,
    ) -> Iterator[TokenEvent | SamplingStep | PictureEvent]:
        """`reply` that also tells each step of a drawing, for who has other things to do meanwhile.

        `guide` says which tokens may come; those it forbids <boi> draw nothing.
        """
        if self._logits_1V is None:
            raise InvalidInput.for_field("tokens", None, "are missing", "Read a prompt first.")
        drawing = drawing or DrawingParameters()
        continuation = Continuation(parameters, self._tokens, len(self._tokens), guide)
        plan = SamplingPlan([continuation], self._model.config.text.vocab_size, self._device)
        uniforms = Uniforms(parameters.seed)
        num_pictures = 0
        for number in range(1, parameters.max_tokens + 1):
            may_draw = num_pictures < most_pictures and self.room >= self._model.config.picture_stride + 2
            token = self._choose(plan, parameters, uniforms, may_draw=may_draw)
            reason: FinishReason | None = None
            if token in parameters.stop_ids:
                reason = "stop"
            elif number == parameters.max_tokens or self.room < 2:
                reason = "length"
            if self.room > 0:
                self.read_tokens([token])
            draws = token == self._markers.begin and may_draw
            yield TokenEvent(0, token, finish_reason=None if draws else reason)
            if draws:
                seed = picture_seed(parameters.seed, num_pictures)
                image_CHW = yield from self._drawn(seed, drawing)
                num_pictures += 1
                self._take(image_CHW)
                yield PictureEvent(image_CHW, seed)
                yield TokenEvent(0, self._markers.end, finish_reason=reason)
            if reason is not None:
                return

    def _choose(
        self, plan: SamplingPlan, parameters: SamplingParameters, uniforms: Uniforms, *, may_draw: bool
    ) -> int:
        assert self._logits_1V is not None
        logits_1V = self._logits_1V
        if not may_draw:
            logits_1V = logits_1V.clone()
            logits_1V[:, self._markers.begin] = -math.inf
        return int(plan.choose(logits_1V, [0.0 if parameters.greedy else uniforms.next()]))

    def _drawn(self, seed: int, drawing: DrawingParameters) -> Generator[SamplingStep, None, Tensor]:
        if self._painter is None:
            self._painter = self._model.painter()
        sampling = steps_in_context(
            self._painter,
            self._model.context(self._memory),
            seeds=[seed],
            steps=drawing.steps,
            guidance=drawing.guidance,
            guidance_from=drawing.guidance_from,
            solver=drawing.solver,
        )
        for step in sampling:
            yield step
        return step.predicted_BCHW[0].clone()

    def _take(self, image_CHW: Tensor) -> None:
        self._model.read_picture(self._memory, image_CHW[None].to(self._device))
        self.read_tokens([self._markers.end])

    def _check_room(self, needed: int) -> None:
        if needed > self.room:
            raise InvalidInput.for_field(
                "pictures",
                needed,
                f"positions are needed, and {self.room} are left in the context",
                "Begin a new conversation.",
            )

    @property
    def _device(self) -> torch.device:
        return self._memory.device


def check_tokens(tokens: Sequence[int], vocab_size: int, field: str = "tokens") -> None:
    """Refuse what is no token, by name."""
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise InvalidInput.for_field(
                field, token, "is no token of the model", f"Use 0 to {vocab_size - 1}."
            )


@torch.no_grad()
def continue_text(
    model: FusedModel, memory: Memory, logits_BV: Tensor, parameters: Sequence[SamplingParameters]
) -> list[list[int]]:
    """What each row says next, stop tokens left out, without pictures: for many short answers at once."""
    rows = list(range(memory.num_rows))
    answers: list[list[int]] = [[] for _ in rows]
    uniforms = [Uniforms(p.seed) for p in parameters]
    while rows:
        plan = SamplingPlan(
            [Continuation(parameters[row], answers[row], num_given=0) for row in rows],
            logits_BV.shape[-1],
            memory.device,
        )
        drawn = [0.0 if parameters[row].greedy else uniforms[row].next() for row in rows]
        tokens = plan.choose(logits_BV.float(), drawn).tolist()
        going = []
        for place, (row, token) in enumerate(zip(rows, tokens, strict=True)):
            if token in parameters[row].stop_ids:
                continue
            answers[row].append(token)
            room = model.config.text.context_length - memory.positions[place]
            if len(answers[row]) < parameters[row].max_tokens and room > 0:
                going.append(place)
        if len(going) < len(rows):
            memory = memory.rows(going)
            rows = [rows[place] for place in going]
        if rows:
            tokens_B1 = torch.tensor([[answers[row][-1]] for row in rows], device=memory.device)
            logits_BV = model.read_text(memory, tokens_B1)[:, -1]
    return answers


def picture_seed(seed: int | None, number: int) -> int:
    """Of the picture of this number; the first has the seed itself.

    Answers to one question have seeds next to one another: their pictures must not meet.
    """
    return torch.Generator().seed() % 2**63 if seed is None else (seed + number * _FAR_APART) % 2**63
