"""Encoded samples: for each split texts as token ids and pictures of one size, in the order they were
told, each given or to be learned; memory-mapped.

Letters: N samples, K segments, T tokens, P different pictures, C channels, H height, W width.
"""

# ruff: noqa: N815

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from vermeil_errors import DataCorrupted

from vermeil_data.arrays import ArrayFolder, Int64s
from vermeil_data.card import DatasetCard, ImagesCard, TokenizerCard, load_card
from vermeil_data.dataset import no_such_split, verify_shards
from vermeil_data.encoded import TokenIds
from vermeil_data.shard import file_sha256
from vermeil_data.tokenizer import TOKENIZER_FILE, TextTokenizer

NO_PICTURE = -1
"""Picture number of a segment of text."""
PARTS = ("pixels", "ids", "text_offsets", "pictures", "learned", "sample_offsets", "classes")


class SampleArrays(NamedTuple):
    """The samples of a split."""

    pixels_PCHW: npt.NDArray[np.uint8]
    """Each picture once, however many samples show it."""
    ids_T: TokenIds
    """Token ids of all texts end to end, without any special token."""
    text_offsets: Int64s
    """K + 1 positions: segment k is ids_T[text_offsets[k] : text_offsets[k + 1]]; nothing for a picture."""
    pictures_K: Int64s
    """Number of the picture, or -1 for text."""
    learned_K: npt.NDArray[np.bool_]
    """Whether a segment is to be produced, or given."""
    sample_offsets: Int64s
    """N + 1 positions: sample n has segments sample_offsets[n] to sample_offsets[n + 1] - 1."""
    classes_N: Int64s
    """Class id of each sample; -1 where it has none."""


class EncodedSamples:
    """A folder of encoded samples, opened for reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card: DatasetCard = load_card(folder, "encoded-samples")
        self._arrays = ArrayFolder(folder)

    @property
    def images(self) -> ImagesCard:
        """Size, channels and classes of the pictures."""
        if self.card.images is None:
            raise DataCorrupted("the data card of encoded samples gives no size", field=str(self.folder))
        return self.card.images

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class id."""
        return self.images.classes

    @property
    def vocab_size(self) -> int:
        """Entries of the tokenizer, with special tokens."""
        return self.tokenizer_card.vocab_size

    @property
    def tokenizer_card(self) -> TokenizerCard:
        """What the card says of the tokenizer."""
        if self.card.tokenizer is None:
            raise DataCorrupted("the data card of encoded samples names no tokenizer", field=str(self.folder))
        return self.card.tokenizer

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer that made the ids; it has <boi> and <eoi>."""
        return TextTokenizer.load(self.folder)

    def num_samples(self, split: str) -> int:
        """Samples of a split."""
        if split not in self.card.splits:
            raise no_such_split(split, self.card)
        return self.card.splits[split].num_samples

    def num_pictures(self, split: str) -> int:
        """Different pictures of a split."""
        self.num_samples(split)
        return self.card.splits[split].num_pictures or 0

    def samples(self, split: str) -> SampleArrays:
        """All samples of a split; read-only views of the files."""
        about, opened = self.images, self._arrays
        num_samples, num_pictures = self.num_samples(split), self.num_pictures(split)
        shape = (num_pictures, about.channels, about.height, about.width)
        sample_offsets = opened.open(split, "sample_offsets", (num_samples + 1,))
        num_segments = int(sample_offsets[-1])
        text_offsets = opened.open(split, "text_offsets", (num_segments + 1,))
        return SampleArrays(
            opened.open(split, "pixels", shape),
            opened.open(split, "ids", (int(text_offsets[-1]),)),
            text_offsets,
            opened.open(split, "pictures", (num_segments,)),
            opened.open(split, "learned", (num_segments,)),
            sample_offsets,
            opened.open(split, "classes", (num_samples,)),
        )

    def verify(self) -> None:
        """Read every byte again; the first file that differs from the card is named."""
        verify_shards(self.folder, self.card)
        path = self.folder / TOKENIZER_FILE
        if not path.is_file() or file_sha256(path) != self.tokenizer_card.sha256:
            raise DataCorrupted("its bytes are not what was written", field=str(path))


def open_encoded_samples(folder: Path) -> EncodedSamples:
    """Open a folder of encoded samples."""
    return EncodedSamples(folder)
