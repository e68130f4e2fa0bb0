"""For tests and for trying things: names from memory, a decoder that knows its answers, tiny models."""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from vermeil_artifacts import ArtifactRef, ArtifactStore
from vermeil_data import TextTokenizer, TokenizerSpec, train_tokenizer
from vermeil_errors import NotFound, VermeilError
from vermeil_model import ModelConfig, Request, TextModel, TokenEvent, TokenLogprob, save_checkpoint

from vermeil_generator.clients import ModelSource

TEXTS = ("to be, or not to be: that is the question", "whether 'tis nobler in the mind to suffer", "héllo ✓")
_STEP_SECONDS = 0.001


class FakeNames:
    """Names that are told instead of asked for."""

    def __init__(self) -> None:
        self.versions: dict[str, ArtifactRef] = {}
        self.error: VermeilError | None = None
        """Raised instead of an answer, while set."""

    def add(self, name: str, artifact: ArtifactRef) -> None:
        """A version, "models/{model}/versions/{version}"; the last one added is the newest."""
        self.versions[name] = artifact

    async def find(self, name: str) -> ModelSource:
        """The version behind a name."""
        if self.error is not None:
            raise self.error
        for version in reversed(self.versions):
            if name in (version, version.partition("/versions/")[0]):
                return ModelSource(version, self.versions[version])
        raise NotFound("no such model", field="model", value=name)

    async def close(self) -> None:
        """Nothing to let go of."""


class FakeDecoder:
    """Says prepared tokens to each prompt, one a step; a step takes a millisecond, as real ones take time.

    Args:
        answers: Tokens by the first id of the prompt; the last one ends the answer with "stop".
        num_slots: Sequences at once.
    """

    def __init__(self, answers: Mapping[int, Sequence[int]], num_slots: int = 4) -> None:
        self._answers = answers
        self._num_slots = num_slots
        self._left: dict[int, deque[int]] = {}
        self._requests: dict[int, Request] = {}
        self._num_said: dict[int, int] = {}
        self._num_added = 0
        self.num_steps = 0
        self.error: Exception | None = None
        """Raised by the next step, once."""
        self.gate = threading.Event()
        """Steps wait here while it is cleared."""
        self.gate.set()

    @property
    def num_free(self) -> int:
        """Places left."""
        return self._num_slots - len(self._left)

    @property
    def sequences(self) -> tuple[int, ...]:
        """Numbers of running sequences."""
        return tuple(self._left)

    def add(self, requests: Sequence[Request]) -> list[TokenEvent]:
        """The first token of each."""
        events = []
        for request in requests:
            number = self._num_added
            self._num_added += 1
            self._left[number] = deque(self._answers[request.prompt[0]])
            self._requests[number] = request
            self._num_said[number] = 0
            events.append(self._say(number))
        return events

    def step(self) -> list[TokenEvent]:
        """One token more for each."""
        self.gate.wait()
        time.sleep(_STEP_SECONDS)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.num_steps += bool(self._left)
        return [self._say(number) for number in list(self._left)]

    def remove(self, sequence: int) -> None:
        """Forget a sequence."""
        del self._left[sequence]

    def _say(self, number: int) -> TokenEvent:
        parameters = self._requests[number].parameters
        token = self._left[number].popleft()
        self._num_said[number] += 1
        is_last = not self._left[number]
        is_long = self._num_said[number] == parameters.max_tokens
        if is_last or is_long:
            del self._left[number]
        logprob = None if parameters.num_logprobs is None else -0.5
        top = tuple(TokenLogprob(rank, -0.5 - rank) for rank in range(parameters.num_logprobs or 0))
        return TokenEvent(number, token, logprob, top, "stop" if is_last else "length" if is_long else None)


def tiny_tokenizer(kind: str = "bpe") -> TextTokenizer:
    """A byte-level tokenizer of 300 entries."""
    spec = TokenizerSpec("bpe", 300) if kind == "bpe" else TokenizerSpec("byte")
    return train_tokenizer(TEXTS, spec)


def write_tiny_model(folder: Path, *, seed: int = 0, context_length: int = 64) -> TextTokenizer:
    """A folder with a model of random weights that answers in no time, and its tokenizer."""
    tokenizer = tiny_tokenizer()
    tokenizer.save(folder)
    config = ModelConfig.from_depth(
        2, tokenizer.vocab_size, context_length=context_length, width=32, num_heads=2
    )
    model = TextModel(config)
    model.init_weights(torch.Generator().manual_seed(seed))
    save_checkpoint(folder, model)
    return tokenizer


def publish_tiny_model(store: ArtifactStore, folder: Path, **options: int) -> ArtifactRef:
    """The same as an artifact; `folder` is for its files meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tiny_model(folder, **options)
    return store.publish(folder, kind="model")
