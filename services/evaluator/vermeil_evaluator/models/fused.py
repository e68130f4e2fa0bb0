"""A fused model in a folder: judges and continues texts, answers about pictures, captions them, draws.

Prompts are spelled as those it learned from were, which its config.json tells.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from vermeil_data import PromptSpeller, TextTokenizer
from vermeil_data.prompts import AskedTask
from vermeil_data.tokenizer import TOKENIZER_FILE
from vermeil_media import encode_png
from vermeil_model import (
    FusedConfig,
    FusedModel,
    SamplingParameters,
    answer,
    draw,
    load_checkpoint,
    prompted_losses,
    read_any_config,
    text_logprobs,
    to_pixels,
)
from vermeil_model.fused_answers import Prompt, TextAnswer
from vermeil_model.image_sampling import Denoiser
from vermeil_model.tensor_files import read_json

from vermeil_evaluator.models.image import Sampling, sampling_of
from vermeil_evaluator.models.likelihoods import likelihoods
from vermeil_evaluator.models.looking import images_of
from vermeil_evaluator.models.model import Check, PictureSize, alike, cannot, in_runs
from vermeil_evaluator.requests import (
    Answer,
    Continuation,
    FlowLoss,
    GenerateUntil,
    ImageLoss,
    Loglikelihood,
    Picture,
    Request,
    SampleImage,
)

_AT_ONCE = 64
_MARKS = 8
"""More than are spelled around a text."""
_NEVER = -1e9
"""Bias of a token that must not be said."""


class FusedFolder:
    """Answers all but Embed; reads the weights when first asked."""

    def __init__(self, folder: Path, digest: str) -> None:
        self.digest = digest
        self.about = "a fused model"
        self.condition = "text"
        self.class_names: tuple[str, ...] = ()
        self.space = ""
        self._folder = folder
        config = read_any_config(folder)
        assert isinstance(config, FusedConfig)  # as config.json says
        self._context_length = config.text.context_length
        self._picture_stride = config.picture_stride
        self._values: Mapping[str, Any] = read_json(folder / "config.json")
        fit = str(self._values.get("image_fit", "crop"))
        image = config.image
        self.picture_size = PictureSize(image.image_height, image.image_width, image.channels, fit)

    def answer(self, requests: Iterable[Request], check: Check) -> Iterator[Sequence[Answer]]:
        """Texts some hundred windows at a time, everything else 64 at a time."""
        for kind, run in alike(requests):
            if kind is Loglikelihood:
                yield from likelihoods(run, self._tokenizer, self._context_length, self._logprobs, check)
            elif kind is GenerateUntil:
                for prompts in in_runs(run, _AT_ONCE, check, GenerateUntil, self.about):
                    yield self._continue(prompts, check)
            elif kind is SampleImage:
                for wanted in in_runs(run, _AT_ONCE, check, SampleImage, self.about):
                    yield self._draw(wanted, check)
            elif kind is ImageLoss:
                for shown in in_runs(run, _AT_ONCE, check, ImageLoss, self.about):
                    yield self._losses(shown, check)
            else:
                raise cannot(self.about, next(run))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens."""
        return self._tokenizer.decode(ids)

    def reads(self, tokenizer: bytes) -> bool:
        """Whether this tokenizer.json is its own."""
        return (self._folder / TOKENIZER_FILE).read_bytes() == tokenizer

    def _logprobs(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        return text_logprobs(self._network, tokens_BT.to(self._network.text.embedding.weight.device))

    def _continue(self, requests: Sequence[GenerateUntil], check: Check) -> list[Answer]:
        prompts = [self._prompt(request) for request in requests]
        found = answer(self._network, prompts, [self._parameters(request) for request in requests])
        check()
        return [self._said(each, request.stop) for each, request in zip(found, requests, strict=True)]

    def _prompt(self, request: GenerateUntil) -> Prompt:
        """Of a text that is too long the end, as of text models."""
        if request.images:
            pictures = list(images_of(request.images, self.picture_size))
            kind: AskedTask = "vqa" if request.prompt else "captioning"
            room = self._room(len(pictures))
            question = self._cut(request.prompt, slice(-max(1, room - request.max_tokens, room // 2), None))
            return self._speller.prompt(kind, text=question, pictures=pictures)
        most = max(self._context_length - request.max_tokens, self._context_length // 2)
        return [self._tokenizer.encode(request.prompt, add_bos=True)[-most:]]

    def _parameters(self, request: GenerateUntil) -> SamplingParameters:
        begins_picture = self._tokenizer.boi_id
        return SamplingParameters(
            temperature=request.temperature,
            seed=request.seed,
            max_tokens=request.max_tokens,
            stop_ids=self._tokenizer.stop_ids,
            logit_bias={} if begins_picture is None else {begins_picture: _NEVER},
        )

    def _said(self, found: TextAnswer, stop: Sequence[str]) -> Continuation:
        text = self._tokenizer.decode(found.tokens)
        places = [place for each in stop if (place := text.find(each)) >= 0]
        if places:
            return Continuation(text[: min(places)], "stop", len(found.tokens))
        return Continuation(text, found.finish_reason, len(found.tokens))

    def _draw(self, requests: Sequence[SampleImage], check: Check) -> list[Answer]:
        pictures: list[Answer] = []
        for sampling, some in groupby(requests, lambda request: sampling_of(request, self._own)):
            alike_ones = list(some)
            images_BCHW = draw(
                self._network,
                [self._asked(request.condition) for request in alike_ones],
                seeds=[request.seed for request in alike_ones],
                steps=sampling.steps,
                guidance=sampling.guidance,
                solver=sampling.solver,
                painter=self._painter,
                on_step=lambda _step: check(),
            )
            pictures += [Picture(encode_png(pixels)) for pixels in to_pixels(images_BCHW).cpu().numpy()]
        return pictures

    def _losses(self, requests: Sequence[ImageLoss], check: Check) -> list[Answer]:
        losses_B = prompted_losses(
            self._network,
            [self._asked(request.condition) for request in requests],
            images_of([request.image for request in requests], self.picture_size),
            seeds=[request.seed for request in requests],
            painter=self._painter,
        )
        check()
        return [FlowLoss(loss) for loss in losses_B.tolist()]

    def _asked(self, caption: str) -> Prompt:
        """Of a caption that is too long the beginning, as in training."""
        told = self._cut(caption, slice(max(1, self._room(0))))
        return self._speller.prompt("text-to-image", text=told) if told else []

    def _room(self, num_pictures: int) -> int:
        """Tokens of a text that the context has room for beside pictures and marks."""
        return self._context_length - _MARKS - num_pictures * (self._picture_stride + 2)

    def _cut(self, text: str, part: slice) -> str:
        """That part of its tokens, as text."""
        ids = self._tokenizer.encode(text)
        return text if len(ids[part]) == len(ids) else self._tokenizer.decode(ids[part])

    @property
    def _own(self) -> Sampling:
        return Sampling.in_config(self._values)

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        return TextTokenizer.load(self._folder)

    @cached_property
    def _speller(self) -> PromptSpeller:
        return PromptSpeller(self._tokenizer, self._values.get("styles"))

    @cached_property
    def _painter(self) -> Denoiser:
        return self._network.painter()

    @cached_property
    def _network(self) -> FusedModel:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return load_checkpoint(self._folder, FusedModel, dtype=torch.float32, device=device)
