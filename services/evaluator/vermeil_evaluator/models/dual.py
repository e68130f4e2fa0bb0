"""A pair of encoders in a folder: pictures and captions in one space, where what belongs together is near."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from vermeil_data import TextTokenizer
from vermeil_media import Channels, decode_image
from vermeil_model import DualEncoder, from_pixels, load_checkpoint, read_config

from vermeil_evaluator.models.model import Check, PictureSize, in_runs
from vermeil_evaluator.requests import Answer, Embed, Embedding, Request

_AT_ONCE = 256


class DualFolder:
    """Answers Embed for pictures and for texts with unit vectors."""

    def __init__(self, folder: Path, digest: str) -> None:
        self.digest = digest
        self.about = "a contrastive pair of encoders"
        self.condition = "none"
        self.class_names: tuple[str, ...] = ()
        self._folder = folder
        self._config = config = read_config(folder, DualEncoder)
        self.picture_size = PictureSize(config.image_height, config.image_width, config.channels)
        self.space = "shared"

    def answer(self, requests: Iterable[Request], check: Check) -> Iterator[Sequence[Answer]]:
        """256 at a time, pictures and texts apart."""
        for run in in_runs(requests, _AT_ONCE, check, Embed, self.about):
            answers: list[Answer | None] = [None] * len(run)
            for embed, is_picture in ((self._pictures, True), (self._texts, False)):
                places = [place for place, each in enumerate(run) if bool(each.image) == is_picture]
                if not places:
                    continue
                vectors_BE = embed([run[place] for place in places])
                for place, vector_E in zip(places, vectors_BE, strict=True):
                    answers[place] = Embedding(vector_E, np.zeros(0, np.float32))
            yield [answer for answer in answers if answer is not None]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a caption's tokens."""
        return self._tokenizer.decode(ids)

    def reads(self, tokenizer: bytes) -> bool:
        """Whether this tokenizer.json is its own."""
        return (self._folder / "tokenizer.json").read_bytes() == tokenizer

    @torch.inference_mode()
    def _pictures(self, requests: Sequence[Embed]) -> "np.typing.NDArray[np.float32]":
        known: Mapping[int, Channels] = {1: 1, 4: 4}
        channels = known.get(self._config.channels, 3)
        pixels = [decode_image(request.image, channels=channels) for request in requests]
        pixels_BCHW = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
        return self._network.embed_images(from_pixels(pixels_BCHW.to(self._device))).cpu().numpy()

    @torch.inference_mode()
    def _texts(self, requests: Sequence[Embed]) -> "np.typing.NDArray[np.float32]":
        captions = [
            self._tokenizer.encode(request.text)[: self._config.context_length] or [self._tokenizer.bos_id]
            for request in requests
        ]
        lengths_B = torch.tensor([len(caption) for caption in captions])
        tokens_BL = torch.zeros(len(captions), int(lengths_B.max()), dtype=torch.long)
        for row, caption in zip(tokens_BL, captions, strict=True):
            row[: len(caption)] = torch.tensor(caption)
        embedded = self._network.embed_texts(tokens_BL.to(self._device), lengths_B.to(self._device))
        return embedded.cpu().numpy()

    @property
    def _device(self) -> torch.device:
        return next(self._network.parameters()).device

    @cached_property
    def _tokenizer(self) -> TextTokenizer:
        return TextTokenizer.load(self._folder)

    @cached_property
    def _network(self) -> DualEncoder:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return load_checkpoint(self._folder, DualEncoder, dtype=torch.float32, device=device)
