"""Several conversations at once: all that write get a token from one pass, all that draw a step from another.

The form that serving needs of a fused model, as Decoder is that of a language model: one caller steps it.
Prompts are read in parts between the steps of others. Unusual: what a prompt shares with any conversation
that runs or ended lately, from its beginning, is not read again. So the second question about a picture
costs only its words. What fails for one conversation ends that one; a pass for all fails for all.

Letters: B rows that write, V vocabulary.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from traceback import clear_frames

import torch
from torch import Tensor
from vermeil_errors import InvalidInput, NotFound, Overloaded

from vermeil_model.conversation import BrokenEvent, Markers, PictureEvent, check_tokens, picture_seed
from vermeil_model.decoder import FinishReason, Request, TokenEvent
from vermeil_model.easel import DrawingParameters, Easel
from vermeil_model.fused_memory import Memory
from vermeil_model.fused_model import FusedModel
from vermeil_model.logprobs import logprobs_of
from vermeil_model.patches import check_pictures, from_pixels
from vermeil_model.read_before import Read, ReadBefore
from vermeil_model.sampling import SamplingPlan
from vermeil_model.talk import DRAWN, Talk, num_pictures
from vermeil_model.text_form import TextForm

CHUNK = 256
"""Prompt tokens and patches read between two steps; a picture is read at once, however large."""
Event = TokenEvent | PictureEvent | BrokenEvent


class Conversations:
    """Room for `num_slots` running conversations.

    Args:
        model: A fused model.
        markers: Its tokens around pictures.
        form: Its frozen form for reading and writing text.
        easel: Where it draws; others may draw there too.
        num_slots: Conversations at once.
        kept_bytes: Memory of conversations that have ended, of which the last are kept.
        drawing: How pictures are drawn.
        most_pictures: Of one answer.
        chunk: Most prompt tokens and patches that are read between two steps.
    """

    def __init__(
        self,
        model: FusedModel,
        markers: Markers,
        *,
        form: TextForm | None = None,
        easel: Easel | None = None,
        num_slots: int = 32,
        kept_bytes: int = 0,
        drawing: DrawingParameters | None = None,
        most_pictures: int = 1,
        chunk: int = CHUNK,
    ) -> None:
        for name, value in (("num_slots", num_slots), ("chunk", chunk)):
            if value < 1:
                raise InvalidInput.for_field(name, value, "is below 1", "Use 1 or more.")
        self._model, self._markers = model, markers
        self._device = model.text.embedding.weight.device
        self._form = form or model.writer()
        self._easel = easel or Easel(model.painter(), self._device)
        self._num_slots, self._most_pictures, self._chunk = num_slots, most_pictures, chunk
        self._drawing = drawing or DrawingParameters()
        self._before = ReadBefore(kept_bytes, markers.begin)
        self._reading: deque[Talk] = deque()
        self._writing: list[Talk] = []
        """By the row of `_memory` that each has."""
        self._memory = model.begin(0, room=num_slots)
        self._drawing_now: list[Talk] = []
        self._has_read = False
        """The last step told first tokens: now it is the turn of those that write or draw."""
        self._plan: tuple[list[Talk], SamplingPlan] | None = None
        self._num_added = self._num_moves = 0

    @property
    def num_free(self) -> int:
        """Conversations that `add` can take now."""
        return self._num_slots - len(self._talks)

    @property
    def sequences(self) -> tuple[int, ...]:
        """Numbers of the running conversations."""
        return tuple(talk.number for talk in self._talks)

    @property
    def num_bytes(self) -> int:
        """Memory of running and kept conversations."""
        own = sum(talk.memory.num_bytes for talk in self._talks if talk.memory is not None)
        return self._memory.num_bytes + own + self._before.num_bytes

    def add(self, requests: Sequence[Request]) -> list[int]:
        """The numbers of new conversations, one a request; `step` reads their prompts."""
        if len(requests) > self.num_free:
            raise Overloaded(f"{len(requests)} conversations do not fit into {self.num_free} free slots")
        for request in requests:
            self._check(request)
        numbers = list(range(self._num_added, self._num_added + len(requests)))
        self._num_added += len(requests)
        self._reading.extend(map(Talk.of, requests, numbers, [self._markers] * len(requests)))
        return numbers

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """The first token of those that have read their prompt now, or a turn for all that write or draw.

        As with Decoder, reading and going on take turns, and a prompt in parts holds nobody up. Those that
        draw are silent until the picture is there. One whose prompt cannot be read, or whose picture cannot
        be drawn, is told as broken and ends alone. What fails for all is raised: the pass of those that
        write, a choice of tokens, a change of the memory that they share.
        """
        with self._easel.turns.turn():
            broken: list[Event] = []
            if not self._has_read:
                first, broken = self._read()
                if first:
                    events = self._choose(torch.cat(first))
                    self._has_read = bool(self._writing or self._drawing_now)
                    return broken + events
            self._has_read = False
            events = broken + self._draw()
            return events + self._choose(self._continue()) if self._writing else events

    def remove(self, sequence: int) -> None:
        """Stop a running conversation; its slot is free at once."""
        for talk in self._talks:
            if talk.number == sequence:
                with self._easel.turns.turn():
                    self._end(talk)
                return
        raise NotFound("is not running", field="sequence", value=sequence)

    @property
    def _talks(self) -> list[Talk]:
        return [*self._writing, *self._drawing_now, *self._reading]

    def _check(self, request: Request) -> None:
        prompt, parameters, pictures, _, adapter = request
        if adapter is not None:
            raise InvalidInput.for_field("adapter", None, "is of a language model alone", "Leave it out.")
        if not prompt:
            raise InvalidInput.for_field("prompt", None, "is empty", "Begin with a <bos> token.")
        vocab_size = self._model.config.text.vocab_size
        check_tokens(prompt, vocab_size, "prompt")
        check_tokens(list(parameters.logit_bias), vocab_size, "logit_bias")
        begin, end = self._markers
        places = [place for place, token in enumerate(prompt) if token == begin]
        if len(places) != len(pictures) or any(list(prompt[at + 1 : at + 2]) != [end] for at in places):
            raise InvalidInput.for_field(
                "pictures",
                len(pictures),
                f"do not belong to the {len(places)} <boi> of the prompt",
                "Give one for each, and <eoi> after each.",
            )
        for picture_CHW in pictures:
            check_pictures(picture_CHW[None], self._model.config.image, "a model")
        length = self._model.config.text.context_length
        needed = len(prompt) + self._model.config.picture_stride * len(pictures)
        if needed >= length:
            raise InvalidInput.for_field(
                "prompt", needed, f"leaves no room in a context of {length} positions", "Shorten it."
            )

    def _continue(self) -> Tensor:
        """Logits (B, V) of all that write, once they have read what they said last."""
        last_B1 = torch.tensor([[talk.tokens[-1]] for talk in self._writing], device=self._device)
        return self._logits(self._model.read_on(self._memory, last_B1, form=self._form))

    def _logits(self, hidden_BTD: Tensor) -> Tensor:
        return self._form.tower.readout(hidden_BTD[:, -1]).float()

    def _read(self) -> tuple[list[Tensor], list[Event]]:
        """Read a part of what waits: logits of those that have read all and write from now on; who broke.

        Whoever cannot be read leaves with all that it held, and is the last in this step.
        """
        found: list[Tensor] = []
        left = self._chunk
        while self._reading and left > 0:
            talk = self._reading[0]
            try:
                num_read, logits_1V = self._read_part(talk, left)
            except Exception as error:  # of this conversation alone
                self._reading.popleft()
                talk.memory = None
                return found, [_broken(talk, error)]
            left -= num_read
            if logits_1V is not None:
                assert talk.memory is not None
                found.append(logits_1V)
                self._reading.popleft()
                self._memory.take_in(talk.memory)
                self._writing.append(talk)
                talk.memory = None
        return found, []

    def _read_part(self, talk: Talk, most: int) -> tuple[int, Tensor | None]:
        """Read a picture, or so many tokens at most: how much that was, and logits if it was the last.

        What fails here harms nobody else: it is read into a memory of its own, for which `_memory` has room
        when it is through, and has not changed otherwise.
        """
        if talk.memory is None:
            talk.memory = self._begin(talk)
        part = talk.unread.popleft()
        if isinstance(part, Tensor):
            self._model.read_picture(talk.memory, part[None].to(self._device))
            return self._model.config.image.num_patches, None
        now, later = part[:most], part[most:]
        if later:
            talk.unread.appendleft(later)
        tokens_1T = torch.tensor([now], device=self._device)
        hidden_1TD = self._model.read_on(talk.memory, tokens_1T, form=self._form)
        if talk.unread:
            return len(now), None
        logits_1V = self._logits(hidden_1TD)
        self._memory.make_room(talk.memory)
        return len(now), logits_1V

    def _begin(self, talk: Talk) -> Memory:
        """What has read most of its prompt already; the rest is to be read."""
        memory = self._before.most_of(talk.marks, self._running_reads())
        memory = self._model.begin(1) if memory is None else memory
        talk.num_cached = memory.lengths[0]
        start = memory.num_tokens[0]
        shown = iter(talk.pictures[num_pictures(talk.marks[:start]) :])
        run: list[int] = []
        for token, mark in zip(talk.tokens[start:], talk.marks[start:], strict=True):
            if isinstance(mark, str):
                talk.unread += [run, from_pixels(next(shown)[None])[0]]
                run = []
            run.append(token)
        talk.unread.append(run)
        return memory

    def _running_reads(self) -> Iterator[Read]:
        for row, talk in enumerate(self._writing):
            yield Read(talk.marks, self._memory, row)
        for talk in (*self._drawing_now, *self._reading):
            if talk.memory is not None:
                yield Read(talk.marks, talk.memory, 0)

    def _choose(self, logits_BV: Tensor) -> list[Event]:
        """The next token of the last of those that write, one a row."""
        talks = self._writing[-len(logits_BV) :]
        if self._plan is None or self._plan[0] != talks:
            continuations = [talk.continuation for talk in talks]
            self._plan = (talks, SamplingPlan(continuations, logits_BV.shape[1], self._device))
        positions = self._memory.positions[-len(talks) :]
        room = [self._model.config.text.context_length - position for position in positions]
        needed = self._model.config.picture_stride + 2
        may_draw = [
            talk.num_drawn < self._most_pictures and left >= needed
            for talk, left in zip(talks, room, strict=True)
        ]
        allowed_BV = logits_BV
        if not all(may_draw):
            silent_B = [row for row, may in enumerate(may_draw) if not may]
            allowed_BV = logits_BV.clone()
            allowed_BV[silent_B, self._markers.begin] = -math.inf
        tokens = self._plan[1].choose(allowed_BV, [talk.next_uniform() for talk in talks]).tolist()
        found = logprobs_of(tokens, logits_BV, [talk.parameters.num_logprobs for talk in talks])
        events: list[Event] = []
        for talk, token, left, may, told in zip(talks, tokens, room, may_draw, found, strict=True):
            reason = _reason(talk, token, left)
            draws = may and token == self._markers.begin
            cached = 0 if talk.num_said else talk.num_cached
            talk.tokens.append(token)
            talk.marks.append(token)
            events.append(TokenEvent(talk.number, token, *told, None if draws else reason, cached))
            if draws:
                events += self._begin_drawing(talk, reason)
            elif reason is not None:
                self._end(talk)
        return events

    def _begin_drawing(self, talk: Talk, reason: FinishReason | None) -> list[Event]:
        """Leave those that write, with a memory of its own; where that fails, all that it held is gone."""
        row = self._writing.index(talk)
        try:
            memory = self._memory.rows([row])
            begin_11 = torch.tensor([[self._markers.begin]], device=self._device)
            self._model.read_on(memory, begin_11, form=self._form)
            seed = picture_seed(talk.parameters.seed, talk.num_drawn)
            talk.drawing = self._easel.add(self._model.context(memory), seed, self._drawing)
        except Exception as error:  # of this conversation alone
            return [_broken(talk, error)]
        else:
            talk.memory, talk.ends_after = memory, reason
            self._drawing_now.append(talk)
            return []
        finally:
            self._leave(row)

    def _draw(self) -> list[Event]:
        """Move pictures on, unless another thread has since the last step; what is done or failed is told."""
        if not self._drawing_now:
            return []
        if self._num_moves == self._easel.num_moves:
            self._easel.move()
        self._num_moves = self._easel.num_moves
        events: list[Event] = []
        for talk in list(self._drawing_now):
            drawing = talk.drawing
            assert drawing is not None
            if drawing.error is not None:
                events.append(_broken(talk, drawing.error))
                self._end(talk)
            elif drawing.is_done:
                image_CHW = drawing.steps[-1].predicted_BCHW[0]
                events.append(PictureEvent(image_CHW, drawing.seed, talk.number))
                events.append(TokenEvent(talk.number, self._markers.end, finish_reason=talk.ends_after))
                self._read_drawn(talk, image_CHW)
            else:
                drawing.steps.clear()
        return events

    def _read_drawn(self, talk: Talk, image_CHW: Tensor) -> None:
        """Write on once it has read what it drew, if it goes on."""
        if talk.ends_after is not None:
            self._end(talk)
            return
        talk.drawing = None
        talk.num_drawn += 1
        talk.marks.append(DRAWN)
        talk.unread += [image_CHW, [self._markers.end]]
        self._drawing_now.remove(talk)
        self._reading.appendleft(talk)

    def _end(self, talk: Talk) -> None:
        """Free its slot; keep what it has read."""
        if talk in self._writing:
            row = self._writing.index(talk)
            self._before.keep(Read(talk.marks, self._memory, row))
            self._leave(row)
            return
        if talk.drawing is not None:
            self._easel.remove(talk.drawing)
            self._drawing_now.remove(talk)
        else:
            self._reading.remove(talk)
        if talk.memory is not None:
            self._before.keep(Read(talk.marks, talk.memory, 0))

    def _leave(self, row: int) -> None:
        """Free a row; the last one takes its place."""
        last = self._writing.pop()
        if row < len(self._writing):
            self._writing[row] = last
        self._memory.drop(row)
        self._plan = None
        if not self._writing:  # gives back the room of long conversations
            self._memory = self._model.begin(0, room=self._num_slots)


def _broken(talk: Talk, error: Exception) -> BrokenEvent:
    """Its end; what the failed call worked on is let go of at once, not when the error is."""
    clear_frames(error.__traceback__)
    return BrokenEvent(error, talk.number)


def _reason(talk: Talk, token: int, room: int) -> FinishReason | None:
    """Why this is its last token, if it is; `room` is that before it."""
    if token in talk.parameters.stop_ids:
        return "stop"
    if talk.num_said + 1 == talk.parameters.max_tokens or room < 2:
        return "length"
    return None
