"""Encoded images: for each split the pixels of one size, class ids and caption tokens, memory-mapped.

Letters: N pictures, C channels,
H height, W width, T tokens of all captions end to end, K captions.
"""

# ruff: noqa: N815

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from vermeil_errors import DataCorrupted

from vermeil_data.arrays import ArrayFolder
from vermeil_data.card import DatasetCard, ImagesCard, load_card
from vermeil_data.dataset import no_such_split, verify_shards
from vermeil_data.encoded import TokenIds
from vermeil_data.shard import file_sha256
from vermeil_data.tokenizer import TOKENIZER_FILE, TextTokenizer

NO_CLASS = -1
"""Class id of a picture of no class."""
PARTS = ("pixels", "classes", "caption_ids", "caption_offsets", "sample_offsets")


class Captions(NamedTuple):
    """The captions of a split."""

    ids_T: TokenIds
    """Token ids without <bos>; read-only view of the file."""
    caption_offsets: npt.NDArray[np.int64]
    """K + 1 positions: caption k is ids_T[caption_offsets[k] : caption_offsets[k + 1]]."""
    sample_offsets: npt.NDArray[np.int64]
    """N + 1 positions: picture n has captions sample_offsets[n] to sample_offsets[n + 1] - 1."""

    def of(self, sample: int) -> list[TokenIds]:
        """The captions of one picture."""
        numbers = range(int(self.sample_offsets[sample]), int(self.sample_offsets[sample + 1]))
        return [self.ids_T[self.caption_offsets[k] : self.caption_offsets[k + 1]] for k in numbers]


class EncodedImages:
    """A folder of encoded images, opened for reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card: DatasetCard = load_card(folder, "encoded-images")
        self._arrays = ArrayFolder(folder)

    @property
    def images(self) -> ImagesCard:
        """Size, channels and classes."""
        if self.card.images is None:
            raise DataCorrupted("the data card of encoded images gives no size", field=str(self.folder))
        return self.card.images

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class id."""
        return self.images.classes

    @property
    def vocab_size(self) -> int:
        """Entries of the tokenizer, with special tokens; 0 if captions were left out."""
        return self.card.tokenizer.vocab_size if self.card.tokenizer else 0

    @cached_property
    def tokenizer(self) -> TextTokenizer | None:
        """The tokenizer that made the ids of captions; None if they were left out."""
        return TextTokenizer.load(self.folder) if self.card.tokenizer else None

    def num_images(self, split: str) -> int:
        """Pictures of a split."""
        if split not in self.card.splits:
            raise no_such_split(split, self.card)
        return self.card.splits[split].num_samples

    def pixels(self, split: str) -> npt.NDArray[np.uint8]:
        """All pictures (N, C, H, W), uint8; read-only view of the file."""
        about = self.images
        shape = (self.num_images(split), about.channels, about.height, about.width)
        pixels: npt.NDArray[np.uint8] = self._arrays.open(split, "pixels", shape)
        return pixels

    def classes(self, split: str) -> npt.NDArray[np.int64]:
        """Class ids (N,), int64; -1 where a picture has no class."""
        return self._arrays.open(split, "classes", (self.num_images(split),))

    def captions(self, split: str) -> Captions:
        """Token ids of all captions, and whose they are."""
        sample_offsets = self._arrays.open(split, "sample_offsets", (self.num_images(split) + 1,))
        caption_offsets = self._arrays.open(split, "caption_offsets", (int(sample_offsets[-1]) + 1,))
        ids_T = self._arrays.open(split, "caption_ids", (int(caption_offsets[-1]),))
        return Captions(ids_T, caption_offsets, sample_offsets)

    def verify(self) -> None:
        """Read every byte again; the first file that differs from the card is named."""
        verify_shards(self.folder, self.card)
        path = self.folder / TOKENIZER_FILE
        about = self.card.tokenizer
        if about and (not path.is_file() or file_sha256(path) != about.sha256):
            raise DataCorrupted("its bytes are not what was written", field=str(path))


def open_encoded_images(folder: Path) -> EncodedImages:
    """Open a folder of encoded images."""
    return EncodedImages(folder)
