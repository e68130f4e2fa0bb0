"""Several conversations at once, which take turns: a token each, or a step of the picture being drawn.

The form that serving needs of a fused model, as Decoder is that of a language model: one caller steps it.
Unusual: what a prompt shares with any conversation that runs or ended lately, from its beginning, is not
read again. So the second question about a picture costs only its words.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from vermeil_errors import InvalidInput, NotFound, Overloaded

from vermeil_model.conversation import Conversation, DrawingParameters, Markers, PictureEvent
from vermeil_model.decoder import Request, TokenEvent
from vermeil_model.fused_model import FusedModel
from vermeil_model.image_sampling import Denoiser, SamplingStep
from vermeil_model.patches import from_pixels

PROMPT_TOKENS_AT_ONCE = 2048
"""Read between two turns, so that a flood of new conversations does not silence the running ones."""
_DRAWN = ""
"""Stands for a drawn picture: whoever shows it again shows its pixels, which are rounded."""
Mark = int | str
"""A token; in place of the <eoi> after a picture its sha256."""


@dataclass
class _Read:
    """A conversation and what it has read."""

    marks: list[Mark]
    """One a token."""
    conversation: Conversation


@dataclass
class _Talk(_Read):
    number: int
    events: Iterator[TokenEvent | SamplingStep | PictureEvent] = field(repr=False)


class Conversations:
    """Room for `num_slots` running conversations.

    Args:
        model: A fused model.
        markers: Its tokens around pictures.
        painter: Its frozen form for drawing.
        num_slots: Conversations at once.
        kept_bytes: Memory of conversations that have ended, of which the last are kept.
        drawing: How pictures are drawn.
        most_pictures: Of one answer.
    """

    def __init__(
        self,
        model: FusedModel,
        markers: Markers,
        *,
        painter: Denoiser | None = None,
        num_slots: int = 32,
        kept_bytes: int = 0,
        drawing: DrawingParameters | None = None,
        most_pictures: int = 1,
    ) -> None:
        if num_slots < 1:
            raise InvalidInput.for_field("num_slots", num_slots, "is below 1", "Use 1 or more.")
        self._model, self._markers = model, markers
        self._painter = painter or model.painter()
        self._num_slots, self._most_pictures = num_slots, most_pictures
        self._drawing = drawing or DrawingParameters()
        self._running: dict[int, _Talk] = {}
        self._arriving: dict[int, Request] = {}
        self._kept: deque[_Read] = deque()
        self._kept_bytes = kept_bytes
        self._num_added = 0

    @property
    def num_free(self) -> int:
        """Conversations that `add` can take now."""
        return self._num_slots - len(self.sequences)

    @property
    def sequences(self) -> tuple[int, ...]:
        """Numbers of the running conversations."""
        return (*self._running, *self._arriving)

    def add(self, requests: Sequence[Request]) -> list[int]:
        """The numbers of new conversations, one a request; `step` reads their prompts."""
        if len(requests) > self.num_free:
            raise Overloaded(f"{len(requests)} conversations do not fit into {self.num_free} free slots")
        for request in requests:
            self._check(request)
        numbers = list(range(self._num_added, self._num_added + len(requests)))
        self._num_added += len(requests)
        self._arriving.update(zip(numbers, requests, strict=True))
        return numbers

    @torch.inference_mode()
    def step(self) -> list[TokenEvent | PictureEvent]:
        """A turn for every running conversation: those that draw are silent until the picture is there.

        Then the prompts of new ones are read, a bounded number of tokens, for their first tokens.
        """
        events: list[TokenEvent | PictureEvent] = []
        for talk in list(self._running.values()):
            event = next(talk.events)
            if not isinstance(event, SamplingStep):
                events.append(self._told(talk, event))
        num_read = 0
        while self._arriving and num_read < PROMPT_TOKENS_AT_ONCE:
            number = next(iter(self._arriving))
            request = self._arriving.pop(number)
            num_read += len(request.prompt) + self._model.config.picture_stride * len(request.pictures)
            events.append(self._begin(number, request))
        return events

    def remove(self, sequence: int) -> None:
        """Stop a running conversation; its slot is free at once."""
        if self._arriving.pop(sequence, None) is not None:
            return
        if sequence not in self._running:
            raise NotFound("is not running", field="sequence", value=sequence)
        self._end(sequence)

    def _check(self, request: Request) -> None:
        prompt, parameters, pictures, _, adapter = request
        if adapter is not None:
            raise InvalidInput.for_field("adapter", None, "is of a language model alone", "Leave it out.")
        if not prompt:
            raise InvalidInput.for_field("prompt", None, "is empty", "Begin with a <bos> token.")
        if parameters.num_logprobs is not None:
            raise InvalidInput.for_field(
                "num_logprobs", parameters.num_logprobs, "is not told by a fused model", "Leave it out."
            )
        begin, end = self._markers
        places = [place for place, token in enumerate(prompt) if token == begin]
        if len(places) != len(pictures) or any(list(prompt[at + 1 : at + 2]) != [end] for at in places):
            raise InvalidInput.for_field(
                "pictures",
                len(pictures),
                f"do not belong to the {len(places)} <boi> of the prompt",
                "Give one for each, and <eoi> after each.",
            )
        length = self._model.config.text.context_length
        needed = len(prompt) + self._model.config.picture_stride * len(pictures)
        if needed >= length:
            raise InvalidInput.for_field(
                "prompt", needed, f"leaves no room in a context of {length} positions", "Shorten it."
            )

    def _begin(self, number: int, request: Request) -> TokenEvent:
        marks = self._marks(request)
        conversation = self._read_before(marks)
        num_cached, start = conversation.length, conversation.num_tokens
        pictures = iter(request.pictures[self._num_pictures(marks[:start]) :])
        while start < len(marks):
            if marks[start] == self._markers.begin:
                conversation.read_picture(from_pixels(next(pictures)[None])[0])
                start += 2
                continue
            rest = list(request.prompt[start:])
            end = rest.index(self._markers.begin) if self._markers.begin in rest else len(rest)
            conversation.read_tokens(rest[:end])
            start += end
        events = conversation.reply_in_steps(
            request.parameters, self._drawing, most_pictures=self._most_pictures, guide=request.guide
        )
        talk = self._running[number] = _Talk(marks, conversation, number, events)
        first = self._told(talk, next(events))
        assert isinstance(first, TokenEvent)
        return first._replace(num_cached=num_cached)

    def _marks(self, request: Request) -> list[Mark]:
        """The prompt as it is told from others."""
        marks: list[Mark] = list(request.prompt)
        places = [place for place, token in enumerate(request.prompt) if token == self._markers.begin]
        for place, picture_CHW in zip(places, request.pictures, strict=True):
            marks[place + 1] = hashlib.sha256(picture_CHW.numpy(force=True).tobytes()).hexdigest()
        return marks

    def _num_pictures(self, marks: Sequence[Mark]) -> int:
        return sum(isinstance(mark, str) for mark in marks)

    def _read_before(self, marks: Sequence[Mark]) -> Conversation:
        """What has read most of this prompt already, but its last token: its logits are wanted."""
        best, most = None, 0
        for read in (*self._running.values(), *self._kept):
            shared = self._num_shared(read.marks, marks)
            if shared > most:
                best, most = read, shared
        if best is None:
            return Conversation(self._model, self._markers, painter=self._painter)
        return best.conversation.branch(most)

    def _num_shared(self, read: Sequence[Mark], marks: Sequence[Mark]) -> int:
        """Tokens that both begin with; never up to the middle of a picture."""
        shared = 0
        for one, other in zip(read, marks[:-1], strict=False):
            if one != other:
                break
            shared += 1
        return shared - (shared > 0 and marks[shared - 1] == self._markers.begin)

    def _told(
        self, talk: _Talk, event: TokenEvent | SamplingStep | PictureEvent
    ) -> TokenEvent | PictureEvent:
        assert not isinstance(event, SamplingStep)
        if isinstance(event, TokenEvent):
            talk.marks.append(_DRAWN if event.token == self._markers.end else event.token)
            if event.finish_reason is not None:
                self._end(talk.number)
        return event._replace(sequence=talk.number)

    def _end(self, number: int) -> None:
        """Keep what it has read instead of those that read only the beginning of that."""
        talk = self._running.pop(number)
        marks = talk.marks[: talk.conversation.num_tokens]
        others = (read for read in self._kept if read.marks != marks[: len(read.marks)])
        self._kept = deque([*others, _Read(marks, talk.conversation)])
        while self._kept and sum(read.conversation.num_bytes for read in self._kept) > self._kept_bytes:
            self._kept.popleft()
