"""A small frozen classifier in a folder: its features are the space in which pictures are compared.

Numbers made in its space belong to it, so its accuracy and digest stand in every report.
"""

# ruff: noqa: ARG002 every model is called alike

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from vermeil_errors import InvalidInput
from vermeil_media import decode_image
from vermeil_model import ImageClassifier, from_pixels, load_checkpoint, read_config
from vermeil_model.tensor_files import read_json

from vermeil_evaluator.models.model import Check, PictureSize, in_runs
from vermeil_evaluator.requests import Answer, Embed, Embedding, Request

_PICTURES_AT_ONCE = 256


class ClassifierFolder:
    """Answers Embed for pictures: features and logits."""

    def __init__(self, folder: Path, digest: str) -> None:
        self.digest = digest
        values = read_json(folder / "config.json")
        self.about = "a small frozen classifier"
        self.condition = "none"
        self.class_names = tuple(str(name) for name in values.get("class_names") or ())
        self._folder = folder
        self._config = config = read_config(folder, ImageClassifier)
        self.picture_size = PictureSize(config.image_height, config.image_width, config.channels)
        self.space = "small"

    def answer(self, requests: Iterable[Request], check: Check) -> Iterator[Sequence[Answer]]:
        """256 pictures at a time."""
        for run in in_runs(requests, _PICTURES_AT_ONCE, check, Embed, self.about):
            yield self._embed([self._pixels(request) for request in run])

    def decode(self, ids: Sequence[int]) -> str:
        """It reads no text."""
        raise InvalidInput("a classifier reads no text")

    def reads(self, tokenizer: bytes) -> bool:
        """It reads no text."""
        return False

    def _pixels(self, request: Embed) -> "np.typing.NDArray[np.uint8]":
        if not request.image:
            raise InvalidInput("a classifier reads no text", field="spec.judge", fix="name a dual encoder")
        return decode_image(request.image, channels=1 if self._config.channels == 1 else 3)

    @torch.inference_mode()
    def _embed(self, pictures: Sequence["np.typing.NDArray[np.uint8]"]) -> list[Answer]:
        pixels_BCHW = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        device = next(self._network.parameters()).device
        features_BF = self._network.features(from_pixels(pixels_BCHW.to(device)))
        logits_BN = self._network.logits_of(features_BF)
        return [
            Embedding(features, logits)
            for features, logits in zip(features_BF.cpu().numpy(), logits_BN.cpu().numpy(), strict=True)
        ]

    @cached_property
    def _network(self) -> ImageClassifier:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return load_checkpoint(self._folder, ImageClassifier, dtype=torch.float32, device=device)
