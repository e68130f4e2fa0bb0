"""An image generator in a folder: draws pictures of classes, captions or nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Self, get_args

import torch
from vermeil_data import TextTokenizer
from vermeil_errors import InvalidInput
from vermeil_media import encode_png
from vermeil_model import (
    Conditions,
    ImageModel,
    load_checkpoint,
    picture_losses,
    read_config,
    sample_images,
    to_pixels,
)
from vermeil_model.image_sampling import Solver
from vermeil_model.tensor_files import read_json

from vermeil_evaluator.models.looking import images_of
from vermeil_evaluator.models.model import Check, PictureSize, alike, in_runs
from vermeil_evaluator.requests import Answer, FlowLoss, ImageLoss, Picture, Request, SampleImage

_PICTURES_AT_ONCE = 64
_STEPS = 25


class Sampling(NamedTuple):
    """How pictures are drawn."""

    steps: int
    guidance: float
    solver: Solver = "heun"

    @classmethod
    def in_config(cls, values: Mapping[str, Any]) -> Self:
        """What a model was made for, as its config.json says."""
        own = values.get("sampling") or {}
        return cls(int(own.get("steps", _STEPS)), float(own.get("guidance", 1.0)))


def sampling_of(request: SampleImage, own: Sampling) -> Sampling:
    """What a request asks for; what it leaves open, the model decides."""
    for solver in get_args(Solver):
        if request.solver == solver:
            guidance = own.guidance if request.guidance < 0 else request.guidance
            return Sampling(request.steps or own.steps, guidance, solver)
    raise InvalidInput.for_field("solver", request.solver, "is unknown", "use euler or heun")


class ImageFolder:
    """Answers SampleImage and ImageLoss; reads the weights when first asked."""

    def __init__(self, folder: Path, digest: str) -> None:
        self.digest = digest
        self.about = "an image generator"
        self._folder = folder
        self._config = config = read_config(folder, ImageModel)
        values = read_json(folder / "config.json")
        fit = str(values.get("image_fit", "crop"))
        self.picture_size = PictureSize(config.image_height, config.image_width, config.channels, fit)
        self.space = ""
        self.condition = str(self._config.condition)
        names = values.get("class_names") or ()
        self._own = Sampling.in_config(values)
        self.class_names = tuple(str(name) for name in names)

    def answer(self, requests: Iterable[Request], check: Check) -> Iterator[Sequence[Answer]]:
        """64 pictures at a time; neighbours with the same steps and guidance are drawn together."""
        for kind, asked in alike(requests):
            if kind is ImageLoss:
                for shown in in_runs(asked, _PICTURES_AT_ONCE, check, ImageLoss, self.about):
                    yield self._losses(shown)
                    check()
                continue
            for run in in_runs(asked, _PICTURES_AT_ONCE, check, SampleImage, self.about):
                pictures: list[Answer] = []
                for sampling, some in groupby(run, lambda request: sampling_of(request, self._own)):
                    pictures += self._draw(list(some), sampling, check)
                yield pictures

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a caption's tokens."""
        return self._tokenizer.decode(ids)

    def reads(self, tokenizer: bytes) -> bool:
        """Whether this tokenizer.json is its own."""
        path = self._folder / "tokenizer.json"
        return path.is_file() and path.read_bytes() == tokenizer

    def _draw(self, requests: list[SampleImage], sampling: Sampling, check: Check) -> list[Answer]:
        images_BCHW = sample_images(
            self._network,
            self._conditions([request.condition for request in requests]),
            seeds=[request.seed for request in requests],
            steps=sampling.steps,
            guidance=sampling.guidance,
            solver=sampling.solver,
            on_step=lambda _step: check(),
        )
        return [Picture(encode_png(pixels)) for pixels in to_pixels(images_BCHW).cpu().numpy()]

    def _losses(self, requests: Sequence[ImageLoss]) -> list[Answer]:
        conditions = self._conditions([request.condition for request in requests])
        images_BCHW = images_of([request.image for request in requests], self.picture_size)
        with torch.inference_mode():
            context = None if conditions is None else self._network.read(conditions)
        losses_B = picture_losses(
            self._network,
            context,
            images_BCHW.to(self._device),
            seeds=[request.seed for request in requests],
        )
        return [FlowLoss(loss) for loss in losses_B.tolist()]

    def _conditions(self, wanted: Sequence[str]) -> Conditions | None:
        if self._config.condition == "none" or not any(wanted):
            return None
        if self._config.condition == "class":
            conditions = Conditions.of_classes([self._class(name) for name in wanted])
        else:
            conditions = Conditions.of_captions(
                [self._tokenizer.encode(text)[: self._config.context_length] for text in wanted]
            )
        return conditions.to(self._device)

    def _class(self, name: str) -> int | None:
        if not name:
            return None
        if name in self.class_names:
            return self.class_names.index(name)
        if name.isascii() and name.isdecimal() and int(name) < self._config.num_classes:
            return int(name)
        known = ", ".join(self.class_names) or f"0 to {self._config.num_classes - 1}"
        raise InvalidInput.for_field("condition", name, "is no class of this model", f"use {known}")

    @property
    def _device(self) -> torch.device:
        return next(self._network.parameters()).device

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        return TextTokenizer.load(self._folder)

    @cached_property
    def _network(self) -> ImageModel:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return load_checkpoint(self._folder, ImageModel, dtype=torch.float32, device=device)
