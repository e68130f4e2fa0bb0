"""One model at work: a thread that gives every running answer its next token, again and again.

Callers live in event loops; the thread owns the decoder and all running answers. Callers hand in
choices and cancel them; pieces go back through the caller's loop.
Knows nothing of gRPC, names of models, or how they are loaded.
"""

import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

from vermeil_errors import Internal, Overloaded, Unavailable, VermeilError
from vermeil_model import BrokenEvent, PackedAdapter, PictureEvent, Request, TokenEvent, TokenScore
from vermeil_telemetry import gauge, get_logger

from vermeil_generator.choice import Choice, Words
from vermeil_generator.outbox import Outbox, Reader
from vermeil_generator.patience import Patience
from vermeil_generator.piece import Piece
from vermeil_generator.question import Question

_active = gauge("generator_active", "Answers being written", ["model"])
_logger = get_logger(__name__)


class Decoding(Protocol):
    """What the engine steps: `vermeil_model.Decoder`, or `Conversations` of a model that also draws."""

    @property
    def num_free(self) -> int:
        """Sequences that `add` can take now."""

    @property
    def sequences(self) -> tuple[int, ...]:
        """Numbers of the running sequences."""

    def add(self, requests: Sequence[Request]) -> Sequence[int]:
        """The numbers of new sequences, one a request; their prompts are read by `step`."""

    def step(self) -> Sequence[TokenEvent | PictureEvent | BrokenEvent]:
        """A turn for every running sequence: a token, a step of drawing, or some of its prompt is read.

        How much is read in one turn is bounded, so that nobody silences the others.
        """

    def remove(self, sequence: int) -> None:
        """Stop a running sequence."""


Score = Callable[[Sequence[int], int, PackedAdapter | None], Sequence[TokenScore]]
"""Every token of a prompt with its log-probability and the n likeliest, by the model and its adapter."""


class Engine:
    """Writes answers, several at once.

    Args:
        name: Of the model, for people.
        make_decoder: Makes an empty decoder; called again should one break.
        score: Judges the tokens of a prompt; None where no question asks for that.
        words: The tokenizer.
        max_waiting: Answers that may wait for a free place.
        patience: How long they may have to.
    """

    def __init__(
        self,
        name: str,
        make_decoder: Callable[[], Decoding],
        score: Score | None,
        words: Words,
        max_waiting: int,
        patience: Patience,
    ) -> None:
        self._make_decoder = make_decoder
        self._decoder = make_decoder()
        self._num_slots = self._decoder.num_free
        """Places are counted here: a decoder in the middle of a step may not count whom it is reading."""
        self._score = score
        self._words = words
        self._max_waiting = max_waiting
        self._patience = patience
        self._waiting: deque[Choice] = deque()
        self._running: dict[int, Choice] = {}
        self._since: dict[int, float] = {}
        self._scored: tuple[Question, Sequence[TokenScore]] | None = None
        self._outbox = Outbox()
        self._changed = threading.Condition()
        self._is_closed = False
        self._active = _active.labels(name)
        self._thread = threading.Thread(target=self._run, name=f"engine {name}", daemon=True)
        self._thread.start()

    @property
    def num_active(self) -> int:
        """Answers being written or waiting."""
        with self._changed:
            return len(self._running) + len(self._waiting)

    @property
    def is_alive(self) -> bool:
        """Whether it can take questions."""
        return not self._is_closed

    async def answer(self, question: Question) -> AsyncGenerator[Piece, None]:
        """The pieces of all answers to a question; closing the generator stops the work.

        Raises:
            Overloaded: Too many answers wait already, or for too long.
            Unavailable: The engine is closed.
        """
        reader = Reader()
        choices = [
            Choice(question, index, self._words, partial(self._outbox.put, reader, index))
            for index in range(question.num_choices)
        ]
        self._enqueue(choices)
        num_open = len(choices)
        try:
            while num_open:
                item = await reader.queue.get()
                if isinstance(item, Exception):
                    raise item
                num_open -= item.finish is not None
                yield item
        finally:
            self._cancel(choices)

    def close(self) -> None:
        """Stop the thread; answers under way end with Unavailable."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _enqueue(self, choices: Sequence[Choice]) -> None:
        with self._changed:
            if self._is_closed:
                raise Unavailable("the model is being unloaded", fix="ask again")
            staying = sum(not choice.is_cancelled for choice in self._running.values())
            free = self._num_slots - staying
            state = f"{len(self._running)} answers are being written and {len(self._waiting)} wait"
            if len(self._waiting) + len(choices) > self._max_waiting + free:
                raise Overloaded(state, fix="try again shortly")
            self._check_wait(place=len(self._waiting) + 1 - free, state=state)
            self._waiting.extend(choices)
            self._changed.notify()

    def _check_wait(self, place: int, state: str) -> None:
        """Refuse who would wait too long in this place of the queue; the first may always wait."""
        if place > 1:
            turns = place / self._num_slots
            self._patience.check(self._patience.expected(turns, tuple(self._since.values())), state)

    def _cancel(self, choices: Sequence[Choice]) -> None:
        for choice in choices:
            choice.is_cancelled = True
        with self._changed:
            self._waiting = deque(choice for choice in self._waiting if not choice.is_cancelled)
            self._forget_scores()
            self._changed.notify()

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                try:
                    self._turn()
                except Exception as error:  # one broken step must not end all later answers
                    _logger.exception("a step failed")
                    self._fail_all(Internal(f"a step failed: {error}"))
                    self._begin_anew()
                self._outbox.hand_over(len(self._running))
        except Exception:
            _logger.exception("the engine cannot begin anew")
        finally:  # nobody is to wait for it any more
            with self._changed:
                self._is_closed = True
            self._fail_all(Unavailable("the model was unloaded", fix="ask again"))
            self._outbox.hand_over(len(self._running))
            self._active.set(0)

    def _begin_anew(self) -> None:
        """With an empty decoder; what the broken one holds, also of what it shares, is let go of first."""
        for sequence in self._decoder.sequences:
            with suppress(Exception):
                self._decoder.remove(sequence)
        self._decoder = self._make_decoder()

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._active.set(len(self._running))
            self._changed.wait_for(lambda: self._waiting or self._running or self._is_closed)
            return not self._is_closed

    def _turn(self) -> None:
        for sequence, choice in list(self._running.items()):
            if choice.is_cancelled:
                self._leave(sequence)
        self._admit()
        for event in self._decoder.step():
            self._take(event)

    def _take(self, event: TokenEvent | PictureEvent | BrokenEvent) -> None:
        if isinstance(event, BrokenEvent):
            _logger.error("reading a prompt or drawing a picture failed", exc_info=event.error)
        choice = self._running.get(event.sequence)
        if choice is None:  # it ended with an event before, of the same step
            return
        try:
            is_last = choice.take(event)
        except Exception as error:  # of this answer alone
            _logger.exception("telling an answer failed")
            choice.send(Internal(f"telling the answer failed: {error}"))
            is_last = True
        if is_last:
            self._leave(event.sequence)

    def _leave(self, sequence: int) -> None:
        with self._changed:  # whoever counts places meanwhile must not find it in neither
            del self._running[sequence]
            self._patience.took(self._since.pop(sequence))
            if sequence in self._decoder.sequences:
                self._decoder.remove(sequence)

    def _admit(self) -> None:
        """Let waiting answers in while there are places; one whose prompt was judged is the last for now."""
        judged = self._scored
        while self._decoder.num_free and self._scored is judged:
            with self._changed:
                if not self._waiting:
                    break
                choice = self._waiting[0]
            try:
                if choice.question.echo:
                    choice.echo(self._scores(choice.question))
                self._enter(choice)
            except Exception as error:  # of this answer alone
                _logger.exception("an answer could not begin")
                own = error if isinstance(error, VermeilError) else Internal(f"could not begin: {error}")
                choice.send(own)
                self._waits_no_more(choice)
        self._forget_scores()

    def _enter(self, choice: Choice) -> None:
        """Whoever wants tokens, and has not left meanwhile, gets a place in the decoder."""
        with self._changed:  # whoever counts places meanwhile must find it once
            if not self._waits_no_more(choice):
                return
            if choice.question.parameters is None:
                choice.end()
                return
            (number,) = self._decoder.add([choice.request])
            self._since[number] = self._patience.now()
            self._running[number] = choice

    def _waits_no_more(self, choice: Choice) -> bool:
        """Take the first in the queue out of it; False if it has left by itself."""
        with self._changed:
            is_first = bool(self._waiting) and self._waiting[0] is choice
            if is_first:
                self._waiting.popleft()
            return is_first

    def _scores(self, question: Question) -> Sequence[TokenScore]:
        """All choices of a question share them."""
        if question.num_logprobs is None or self._score is None:
            return ()
        scored = self._scored
        if scored is None or scored[0] is not question:
            scores = self._score(question.prompt.ids, question.num_logprobs, question.adapter)
            scored = self._scored = question, scores
        return scored[1]

    def _forget_scores(self) -> None:
        """Those of a question of which no choice waits any more."""
        with self._changed:
            scored = self._scored
            if scored is not None and all(choice.question is not scored[0] for choice in self._waiting):
                self._scored = None

    def _fail_all(self, error: VermeilError) -> None:
        with self._changed:
            left = [*self._running.values(), *self._waiting]
            for held in (self._running, self._since, self._waiting):
                held.clear()
            self._forget_scores()
        for choice in left:
            choice.send(error)
