"""One answer being written: tokens come in, pieces go out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from vermeil_errors import Internal, Overloaded, VermeilError
from vermeil_model import BrokenEvent, PictureEvent, Request, TokenEvent, TokenLogprob, TokenScore, to_pixels

from vermeil_generator.answer_text import AnswerText, Shown, TokenStream
from vermeil_generator.piece import Finish, Likely, Piece, ToldToken
from vermeil_generator.question import Question

_FINISH = {"stop": Finish.STOP, "length": Finish.LENGTH}


class Words(Protocol):
    """Ids as text: `Vocabulary`."""

    def text(self, token_id: int) -> str:
        """The text of one token."""

    def stream(self) -> TokenStream:
        """A new stream of ids to text."""


class Choice:
    """One of the answers to a question.

    Args:
        question: What was asked.
        index: Which of its answers this is.
        words: The tokenizer.
        send: Takes the pieces, in the engine's thread.
    """

    def __init__(
        self, question: Question, index: int, words: Words, send: Callable[[Piece | Exception], None]
    ) -> None:
        self.question = question
        self.index = index
        self.send = send
        self.is_cancelled = False
        """Set from outside when nobody reads any more."""
        self._words = words
        self._text = AnswerText(words.stream(), question.stop, len(question.prompt.text))
        self._guide = question.grammar.begin() if question.grammar else None
        self._num_tokens = 0
        self._num_cached = 0

    @property
    def request(self) -> Request:
        """What the decoder is asked for."""
        question, prompt = self.question, self.question.prompt
        parameters = question.parameters_of(self.index)
        return Request(prompt.ids, parameters, prompt.pictures, self._guide, question.adapter)

    def echo(self, scores: Sequence[TokenScore]) -> None:
        """Send the prompt, with its log-probabilities if there are any."""
        told = tuple(self._told_prompt(scores))
        self.send(Piece(self.index, self.question.prompt.text, told))

    def take(self, event: TokenEvent | PictureEvent | BrokenEvent) -> bool:
        """Send a picture, or what a new token lets us show; True if it was the last."""
        if isinstance(event, BrokenEvent):
            self.send(_told_to_client(event.error))
            return True
        if isinstance(event, PictureEvent):
            self._take_picture(event)
            return False
        if self._guide is not None and self._guide.error is not None:
            self.send(self._guide.error)
            return True
        if self._num_tokens == 0:
            self._num_cached = event.num_cached
        self._num_tokens += 1
        told = None
        if event.logprob is not None:
            told = self._told(event.token, event.logprob, event.top_logprobs, self._text.offset)
        shown = self._text.add(event.token, told)
        finish: Finish | None = None
        if event.finish_reason is not None and not self._text.is_stopped:
            rest = self._text.finish()
            shown = Shown(shown.text + rest.text, shown.tokens + rest.tokens)
            finish = _FINISH[event.finish_reason]
        if self._text.is_stopped:
            finish = Finish.STOP
        if finish or shown.text or shown.tokens:
            counts = (self._num_tokens, self._num_cached) if finish else (0, 0)
            self.send(Piece(self.index, shown.text, shown.tokens, finish, *counts))
        return finish is not None

    def _take_picture(self, event: PictureEvent) -> None:
        """Send it after all text before it: no stop string goes through a picture."""
        self._num_tokens += self.question.prompt.patches_each
        rest = self._text.finish()
        if rest.text or rest.tokens:
            self.send(Piece(self.index, rest.text, rest.tokens))
        if not self._text.is_stopped:
            (pixels_HWC,) = to_pixels(event.image_CHW[None]).numpy(force=True)
            self.send(Piece(self.index, picture=pixels_HWC))

    def end(self) -> None:
        """Send the last piece of an answer for which no token was wanted."""
        self.send(Piece(self.index, finish=Finish.LENGTH))

    def _told_prompt(self, scores: Sequence[TokenScore]) -> Iterator[ToldToken]:
        stream = self._words.stream()
        offset = 0
        for place, (token, logprob, top) in enumerate(scores):
            text = stream.add(token)
            if place >= self.question.prompt.num_hidden:
                yield self._told(token, logprob, top, offset)
            offset += len(text)

    def _told(self, token: int, logprob: float | None, top: Sequence[TokenLogprob], offset: int) -> ToldToken:
        likely = tuple(Likely(each.token, self._words.text(each.token), each.logprob) for each in top)
        return ToldToken(token, self._words.text(token), logprob, likely, offset)


def _told_to_client(error: Exception) -> VermeilError:
    """Why an answer broke off; who asks again when memory ran out may find that others have freed some."""
    if isinstance(error, VermeilError):
        return error
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return Overloaded("memory ran out while this was being answered", fix="try again shortly")
    return Internal(f"an answer broke off: {error}")
