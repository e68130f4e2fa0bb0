"""A dual model at work: texts and pictures to unit vectors, by the tokenizer and the size it was made for.

Loading it loads torch; whoever answers requests imports this when the first one comes.

Letters: B texts or pictures, C channels, H height, W width, E embedding width.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from vermeil_data import TextTokenizer
from vermeil_media import Fit, Pixels, decode_image, resize_image
from vermeil_model import Conditions, DualEncoder, from_pixels, load_checkpoint

Vectors = npt.NDArray[np.float32]


class DualModel:
    """A model folder, loaded."""

    def __init__(self, folder: Path) -> None:
        self.model = load_checkpoint(folder, DualEncoder, dtype=torch.float32)
        self._tokenizer = TextTokenizer.load(folder)
        self._fit: Fit = json.loads((folder / "config.json").read_text()).get("image_fit", "crop")

    @property
    def width(self) -> int:
        """Of its vectors."""
        return self.model.config.embedding_width

    def pixels(self, raw: bytes, name: str = "picture") -> Pixels:
        """A picture's file, as the model takes it; (H, W, C)."""
        config = self.model.config
        decoded = decode_image(raw, channels=config.channels, name=name)  # type: ignore[arg-type]
        return resize_image(decoded, config.image_height, config.image_width, self._fit)

    @torch.inference_mode()
    def embed_pictures(self, pixels_BHWC: Sequence[Pixels]) -> Vectors:
        """(B, E)."""
        images_BCHW = torch.from_numpy(np.stack(pixels_BHWC)).movedim(3, 1)
        return self.model.embed_images(from_pixels(images_BCHW)).numpy()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """(B, E); of a long text the first tokens count."""
        length = self.model.config.context_length
        ids = [ids[:length].tolist() for ids in self._tokenizer.encode_batch(texts)]
        captions = Conditions.of_captions(ids)
        assert captions.tokens_BL is not None
        assert captions.lengths_B is not None
        return self.model.embed_texts(captions.tokens_BL, captions.lengths_B).numpy()
