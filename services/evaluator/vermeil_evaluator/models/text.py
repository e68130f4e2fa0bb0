"""A text model in a folder: judges texts and continues them, in float32."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import torch
from vermeil_data import TextTokenizer
from vermeil_data.tokenizer import TOKENIZER_FILE
from vermeil_errors import InvalidInput
from vermeil_model import (
    Decoder,
    SamplingParameters,
    TextModel,
    load_checkpoint,
    read_config,
    token_logprobs,
)
from vermeil_model import Request as Prompt

from vermeil_evaluator.models.likelihoods import likelihoods
from vermeil_evaluator.models.model import Check, PictureSize, alike, cannot, in_runs
from vermeil_evaluator.requests import (
    Answer,
    Continuation,
    GenerateUntil,
    Loglikelihood,
    Request,
)

_PROMPTS_AT_ONCE = 64
_SLOTS = 32


class TextFolder:
    """Answers Loglikelihood and GenerateUntil; reads the weights when first asked."""

    def __init__(self, folder: Path, digest: str) -> None:
        self.digest = digest
        self.about = "a text model"
        self.condition = "none"
        self.class_names: tuple[str, ...] = ()
        self.picture_size: PictureSize | None = None
        self.space = ""
        self._folder = folder
        self._context_length = read_config(folder).context_length

    def answer(self, requests: Iterable[Request], check: Check) -> Iterator[Sequence[Answer]]:
        """Texts some hundred windows at a time, prompts 64 at a time."""
        for kind, run in alike(requests):
            if kind is Loglikelihood:
                yield from likelihoods(run, self._tokenizer, self._context_length, self._logprobs, check)
            elif kind is GenerateUntil:
                for prompts in in_runs(run, _PROMPTS_AT_ONCE, check, GenerateUntil, self.about):
                    yield self._continue(prompts, check)
            else:
                raise cannot(self.about, next(run))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens."""
        return self._tokenizer.decode(ids)

    def reads(self, tokenizer: bytes) -> bool:
        """Whether this tokenizer.json is its own."""
        return (self._folder / TOKENIZER_FILE).read_bytes() == tokenizer

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        return TextTokenizer.load(self._folder)

    @cached_property
    def _network(self) -> TextModel:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return load_checkpoint(self._folder, dtype=torch.float32, device=device)

    @cached_property
    def _decoder(self) -> Decoder:
        return Decoder(self._network, num_slots=_SLOTS)

    def _logprobs(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        network = self._network
        return token_logprobs(network, tokens_BT.to(network.embedding.weight.device))

    def _continue(self, requests: Sequence[GenerateUntil], check: Check) -> list[Answer]:
        waiting = list(enumerate(requests))
        running: dict[int, _Growing] = {}
        answers: list[Answer | None] = [None] * len(requests)
        decoder = self._decoder
        try:
            while waiting or running:
                arriving, waiting = waiting[: decoder.num_free], waiting[decoder.num_free :]
                numbers = decoder.add([self._prompt(request) for _, request in arriving])
                for number, (place, request) in zip(numbers, arriving, strict=True):
                    running[number] = _Growing(place, request, self._tokenizer)
                for event in decoder.step():
                    growing = running[event.sequence]
                    answer = growing.add(event.token, event.finish_reason, self._tokenizer.stop_ids)
                    if answer is None:
                        continue
                    answers[growing.place] = answer
                    del running[event.sequence]
                    if event.finish_reason is None:
                        decoder.remove(event.sequence)
                check()
        finally:
            for sequence in decoder.sequences:
                decoder.remove(sequence)
        return [answer for answer in answers if answer is not None]

    def _prompt(self, request: GenerateUntil) -> Prompt:
        """Of a prompt that is too long the end, at least half a context; the answer gets what is left."""
        if request.images:
            raise InvalidInput.for_field(
                "spec.model", self.about, "looks at no pictures", "name a fused model, or choose another task"
            )
        most = max(self._context_length - request.max_tokens, self._context_length // 2)
        parameters = SamplingParameters(
            temperature=request.temperature,
            seed=request.seed,
            max_tokens=request.max_tokens,
            stop_ids=self._tokenizer.stop_ids,
        )
        return Prompt(self._tokenizer.encode(request.prompt, add_bos=True)[-most:], parameters)


class _Growing:
    """A continuation while it grows."""

    def __init__(self, place: int, request: GenerateUntil, tokenizer: TextTokenizer) -> None:
        self.place = place
        self._stop = request.stop
        self._stream = tokenizer.detokenizer()
        self._text = ""
        self._num_tokens = 0

    def add(self, token: int, finish_reason: str | None, ends: frozenset[int]) -> Continuation | None:
        """The answer, once it is complete."""
        self._num_tokens += 1
        if token not in ends:
            self._text += self._stream.add(token)
        if finish_reason:
            self._text += self._stream.finish()
        places = [place for stop in self._stop if (place := self._text.find(stop)) >= 0]
        if places:
            return Continuation(self._text[: min(places)], "stop", self._num_tokens)
        return Continuation(self._text, finish_reason, self._num_tokens) if finish_reason else None
