"""For tests and for trying things: names from memory, networks that know their answers, tiny models."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from vermeil_artifacts import ArtifactRef, ArtifactStore
from vermeil_data import TextTokenizer, TokenizerSpec, train_tokenizer
from vermeil_errors import InvalidInput, NotFound, VermeilError
from vermeil_media import Pixels
from vermeil_model import (
    ImageConfig,
    ImageModel,
    ModelConfig,
    PictureEvent,
    Request,
    TextModel,
    TokenEvent,
    TokenLogprob,
    fuse,
    fused_config,
    read_config,
    save_adapter,
    save_checkpoint,
)
from vermeil_model.image_config import Condition
from vermeil_model.testing import small_adapter

from vermeil_generator.clients import ModelSource
from vermeil_generator.grammar import Grammar, Guide
from vermeil_generator.image_order import Style, Wish
from vermeil_generator.loaded_fused import FIT, STYLES
from vermeil_generator.loaded_image import CLASS_NAMES, SAMPLING
from vermeil_generator.output_format import OutputFormat
from vermeil_generator.sampler import NobodyWaitsError, OnStep, Step
from vermeil_generator.turnstile import Turnstile

TEXTS = ("to be, or not to be: that is the question", "whether 'tis nobler in the mind to suffer", "héllo ✓")
CLASSES = ("ring", "cross", "dot")
IMAGE_SIZE = 8
"""Height and width of tiny pictures, in pixels."""
_STEP_SECONDS = 0.001


class FakeNames:
    """Names that are told instead of asked for."""

    def __init__(self) -> None:
        self.versions: dict[str, ModelSource] = {}
        self.error: VermeilError | None = None
        """Raised instead of an answer, while set."""

    def add(self, name: str, artifact: ArtifactRef, base: str = "") -> None:
        """A version, "models/{model}/versions/{version}"; the last one added is the newest."""
        self.versions[name] = ModelSource(name, artifact, base)

    async def find(self, name: str) -> ModelSource:
        """The version behind a name."""
        if self.error is not None:
            raise self.error
        for version in reversed(self.versions):
            if name in (version, version.partition("/versions/")[0]):
                return self.versions[version]
        raise NotFound("no such model", field="model", value=name)

    async def close(self) -> None:
        """Nothing to let go of."""


class Drawn(NamedTuple):
    """A picture in the answer of a FakeDecoder."""

    grey: int
    """0 to 255, of all its pixels."""


class FakeDecoder:
    """Says prepared tokens to each prompt, one a step; a step takes a millisecond, as real ones take time.

    Prompts cost nothing.

    Args:
        answers: Tokens and pictures by the first id of the prompt; the first and the last one are tokens,
            and the last one ends the answer with "stop".
        num_slots: Sequences at once.
    """

    def __init__(self, answers: Mapping[int, Sequence[int | Drawn]], num_slots: int = 4) -> None:
        self._answers = answers
        self._num_slots = num_slots
        self._left: dict[int, deque[int | Drawn]] = {}
        self._requests: dict[int, Request] = {}
        self._num_said: dict[int, int] = {}
        self._num_added = 0
        self.num_steps = 0
        self.error: Exception | None = None
        """Raised by the next step, once."""
        self.gate = Turnstile()
        """Steps wait here while it is closed."""

    @property
    def num_free(self) -> int:
        """Places left."""
        return self._num_slots - len(self._left)

    @property
    def sequences(self) -> tuple[int, ...]:
        """Numbers of running sequences."""
        return tuple(self._left)

    def add(self, requests: Sequence[Request]) -> list[int]:
        """Their numbers."""
        numbers = []
        for request in requests:
            number = self._num_added
            self._num_added += 1
            self._left[number] = deque(self._answers[request.prompt[0]])
            self._requests[number] = request
            self._num_said[number] = 0
            numbers.append(number)
        return numbers

    def step(self) -> list[TokenEvent | PictureEvent]:
        """One token more for each, or a picture."""
        self.gate.step()
        time.sleep(_STEP_SECONDS)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.num_steps += bool(self._left)
        return [self._say(number) for number in list(self._left)]

    def remove(self, sequence: int) -> None:
        """Forget a sequence."""
        del self._left[sequence]

    def _say(self, number: int) -> TokenEvent | PictureEvent:
        parameters = self._requests[number].parameters
        token = self._left[number].popleft()
        if isinstance(token, Drawn):
            image_CHW = torch.full((3, IMAGE_SIZE, IMAGE_SIZE), token.grey / 127.5 - 1)
            return PictureEvent(image_CHW, parameters.seed or 0, number)
        self._num_said[number] += 1
        is_last = not self._left[number]
        is_long = self._num_said[number] == parameters.max_tokens
        if is_last or is_long:
            del self._left[number]
        logprob = None if parameters.num_logprobs is None else -0.5
        top = tuple(TokenLogprob(rank, -0.5 - rank) for rank in range(parameters.num_logprobs or 0))
        return TokenEvent(number, token, logprob, top, "stop" if is_last else "length" if is_long else None)


class FakeGrammars:
    """Formats of which every text is told in advance; another format is one that cannot be met.

    Args:
        texts: All that each format allows.
        tokenizer: Any with the bytes of its tokens.
        vocab_size: Of the model.
    """

    def __init__(
        self,
        texts: Mapping[OutputFormat, Sequence[str]],
        tokenizer: TextTokenizer | None = None,
        vocab_size: int | None = None,
    ) -> None:
        self._texts = texts
        self._tokenizer = tokenizer or tiny_tokenizer()
        self._vocab_size = vocab_size or self._tokenizer.vocab_size

    def knows(self, format_: OutputFormat) -> bool:
        """Whether its texts were told."""
        return format_ in self._texts

    def compile(self, format_: OutputFormat) -> Grammar:
        """The grammar of a format that was told."""
        if format_ not in self._texts:
            raise InvalidInput.for_field(format_.field, str(format_), "cannot be met: nobody told its texts")
        return _Listed([text.encode() for text in self._texts[format_]], self._tokenizer, self._vocab_size)


@dataclass
class _Listed:
    """Both the grammar and, begun anew, the guide through one answer."""

    texts: Sequence[bytes]
    tokenizer: TextTokenizer
    vocab_size: int
    said: bytes = b""
    error: VermeilError | None = None

    def begin(self) -> Guide:
        return replace(self, said=b"")

    def allowed(self) -> torch.Tensor:
        allowed = torch.zeros(self.vocab_size, dtype=torch.bool)
        for token, word in enumerate(self.tokenizer.token_bytes or ()):
            allowed[token] = bool(word) and any(text.startswith(self.said + word) for text in self.texts)
        allowed[list(self.tokenizer.stop_ids)] = self.said in self.texts
        return allowed

    def take(self, token: int) -> None:
        self.said += (self.tokenizer.token_bytes or [])[token]


class FakeDrawing:
    """Draws squares of one brightness that follows from the seed; a step takes a millisecond."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        """Sizes of the batches it was given."""
        self.num_looks = 0
        """Pictures it looked at, summed over all steps."""
        self.error: Exception | None = None
        """Raised by the next step, once."""
        self.gate = Turnstile()
        """Steps wait here while it is closed."""

    def draw(
        self, wishes: Sequence[Wish], style: Style, *, is_wanted: Callable[[int], bool], on_step: OnStep
    ) -> Sequence[Pixels]:
        """The squares."""
        self.batches.append(len(wishes))
        for number in range(style.steps):
            wanted = [place for place in range(len(wishes)) if is_wanted(place)]
            if not wanted:
                raise NobodyWaitsError
            self.num_looks += len(wanted)
            self.gate.step()
            time.sleep(_STEP_SECONDS)
            if self.error is not None:
                error, self.error = self.error, None
                raise error
            on_step(Step(number + 1, lambda place: _square(wishes[place])))
        return [_square(wish) for wish in wishes]


def _square(wish: Wish) -> Pixels:
    return np.full((IMAGE_SIZE, IMAGE_SIZE, 3), wish.seed % 256, np.uint8)


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


def write_tiny_image_model(folder: Path, *, condition: Condition = "class", seed: int = 0) -> None:
    """A folder with a model of random weights that draws small noise in no time."""
    model = tiny_image_model(condition, seed)
    extra: dict[str, object] = {CLASS_NAMES: list(CLASSES)} if condition == "class" else {}
    extra[SAMPLING] = {"steps": 20, "guidance": 2.0}
    save_checkpoint(folder, model, extra=extra)
    if condition == "text":
        tiny_tokenizer().save(folder)


def tiny_image_model(condition: Condition = "class", seed: int = 0) -> ImageModel:
    """A model of random weights that draws something else for every condition."""
    config = ImageConfig.from_depth(
        2,
        image_height=IMAGE_SIZE,
        image_width=IMAGE_SIZE,
        channels=3,
        patch_size=4,
        condition=condition,
        num_classes=len(CLASSES) if condition == "class" else 0,
        vocab_size=tiny_tokenizer().vocab_size if condition == "text" else 0,
        context_length={"class": 2, "text": 16}.get(condition, 0),
        width=32,
        num_heads=2,
    )
    model = ImageModel(config)
    generator = torch.Generator().manual_seed(seed)
    model.init_weights(generator)
    with torch.no_grad():
        # Fresh heads are zero: every picture would be grey.
        model.head.weight.normal_(0.0, 0.5, generator=generator)
    return model.eval()


def write_tiny_fused_model(
    folder: Path, *, seed: int = 0, context_length: int = 128, styles: Mapping[str, str] | None = None
) -> TextTokenizer:
    """A folder with a model of random weights that converses and draws in no time, and its tokenizer."""
    tokenizer = tiny_tokenizer()
    tokenizer.save(folder)
    sizes = ModelConfig.from_depth(
        2, tokenizer.vocab_size, context_length=context_length, width=32, num_heads=2
    )
    text = TextModel(sizes)
    text.init_weights(torch.Generator().manual_seed(seed))
    image = tiny_image_model("none", seed)
    extra = {SAMPLING: {"steps": 6, "guidance": 2.0}, FIT: "stretch", STYLES: dict(styles or {})}
    save_checkpoint(folder, fuse(text, image, fused_config(text, image)), extra=extra)
    return tokenizer


def publish_tiny_model(store: ArtifactStore, folder: Path, **options: int) -> ArtifactRef:
    """A tiny text model as an artifact; `folder` is for its files meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tiny_model(folder, **options)
    return store.publish(folder, kind="model")


def publish_tiny_adapter(store: ArtifactStore, folder: Path, base: Path, *, seed: int = 1) -> ArtifactRef:
    """An adapter over the tiny text model in `base` that changes its answers; every seed another one."""
    folder.mkdir(parents=True, exist_ok=True)
    save_adapter(folder, small_adapter(seed, read_config(base)))
    return store.publish(folder, kind="model")


def publish_tiny_image_model(
    store: ArtifactStore, folder: Path, condition: Condition = "class"
) -> ArtifactRef:
    """A tiny model of images as an artifact."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tiny_image_model(folder, condition=condition)
    return store.publish(folder, kind="model")


def publish_tiny_fused_model(
    store: ArtifactStore, folder: Path, *, styles: Mapping[str, str] | None = None, **options: int
) -> ArtifactRef:
    """A tiny model of text and pictures as an artifact."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tiny_fused_model(folder, styles=styles, **options)
    return store.publish(folder, kind="model")
