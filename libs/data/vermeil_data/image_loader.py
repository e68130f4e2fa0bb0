"""Batches of encoded images.

Letters: B pictures, C channels, H height, W width, L caption tokens.
"""

# ruff: noqa: N815

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from vermeil_errors import InvalidInput

from vermeil_data.encoded_images import NO_CLASS, EncodedImages
from vermeil_data.resumable import ResumableLoader, Standing, check_rows, moved
from vermeil_data.shuffle import hashed, permutation

Condition = Literal["none", "class", "caption"]
Int64s = npt.NDArray[np.int64]
_CHUNK_BYTES = 1 << 20
"""Pixels read at once and handed out in slices, so that Python's part shrinks."""
_CAPTION, _FLIP = 1, 2


class ImageBatch(NamedTuple):
    """One step's pictures on the CPU, contiguous."""

    pixels_BCHW: torch.Tensor
    """uint8, 0 to 255."""
    classes_B: torch.Tensor | None
    """int64; condition "class" only."""
    captions_BL: torch.Tensor | None
    """int64 token ids without <bos>, filled up with the tokenizer's pad_id; condition "caption" only."""
    caption_lengths_B: torch.Tensor | None
    """int64, 0 to L; 0 for a picture without caption."""

    @property
    def num_items(self) -> int:
        """Pictures."""
        return len(self.pixels_BCHW)

    @property
    def num_targets(self) -> int:
        """Pictures again: something is learned from each."""
        return len(self.pixels_BCHW)

    def to(self, device: torch.device) -> "ImageBatch":
        """The same on another device, copied while the CPU goes on."""
        return ImageBatch(*(moved(part, device) for part in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class ImageLoaderState(Standing):
    """Where a loader stands; its position counts pictures."""

    split: str
    seed: int
    condition: Condition
    max_caption_tokens: int
    flip: bool
    num_images: int
    """Of the split: a guard against resuming on other data."""

    OF: ClassVar[str] = "an image loader"


class ImageLoader(ResumableLoader[ImageBatch, ImageLoaderState]):
    """Endless batches of one split; every picture comes once an epoch, in an order of the seed."""

    def __init__(
        self,
        encoded: EncodedImages,
        split: str,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        condition: Condition = "none",
        max_caption_tokens: int = 64,
        flip: bool = False,
    ) -> None:
        """`batch_size` counts pictures of this rank; `flip` mirrors every other one left to right.

        Of several captions one is drawn each epoch; of a long one the first tokens are kept.
        """
        self._num_images = encoded.num_images(split)
        _check(encoded, split, batch_size, rank, world_size, condition, max_caption_tokens)
        self._pixels_NCHW = encoded.pixels(split)
        self._classes_N = encoded.classes(split)
        self._captions = encoded.captions(split)
        self._pad_id = encoded.tokenizer.pad_id if encoded.tokenizer else 0
        start = ImageLoaderState(0, split, seed, condition, max_caption_tokens, flip, self._num_images)
        super().__init__(start, batch_size, rank, world_size)
        self._steps = max(1, _CHUNK_BYTES // (batch_size * self._pixels_NCHW[0].nbytes))
        self._order = lru_cache(maxsize=2)(lambda epoch: permutation(self._num_images, seed, 0, epoch))

    @property
    def batches_per_epoch(self) -> int:
        """Steps in which the ranks together read one epoch, the last one begun counted whole."""
        return -(-self._num_images // self._stride)

    def _chunk(self) -> Iterator[ImageBatch]:
        rows, state = self._rows, self._start
        first_S = self._position + np.arange(self._steps) * self._stride + self._rank * rows
        numbers_R = (first_S[:, None] + np.arange(rows)).ravel()
        images_R = self._images(numbers_R)
        pixels_RCHW = self._pixels_NCHW[images_R]
        if state.flip:
            mirrored_R = (hashed(numbers_R, state.seed, _FLIP) & np.uint64(1)).astype(bool)
            pixels_RCHW[mirrored_R] = pixels_RCHW[mirrored_R][..., ::-1]
        classes_R = self._classes_N[images_R] if state.condition == "class" else None
        captions_RL, lengths_R = (
            self._drawn_captions(numbers_R, images_R) if state.condition == "caption" else (None, None)
        )
        split = [
            None if array is None else torch.split(torch.from_numpy(np.ascontiguousarray(array)), rows)
            for array in (pixels_RCHW, classes_R, captions_RL, lengths_R)
        ]
        for step in range(self._steps):
            yield ImageBatch(*(None if part is None else part[step] for part in split))  # type: ignore[arg-type]

    def _images(self, numbers_R: Int64s) -> Int64s:
        epochs_R, places_R = np.divmod(numbers_R, self._num_images)
        images_R = np.empty_like(numbers_R)
        for epoch in np.unique(epochs_R):
            chosen = epochs_R == epoch
            images_R[chosen] = self._order(int(epoch))[places_R[chosen]]
        return images_R

    def _drawn_captions(self, numbers_R: Int64s, images_R: Int64s) -> tuple[Int64s, Int64s]:
        ids_T, caption_offsets, sample_offsets = self._captions
        first_R = sample_offsets[images_R]
        num_captions_R = sample_offsets[images_R + 1] - first_R
        drawn_R = hashed(numbers_R, self._start.seed, _CAPTION) % np.maximum(num_captions_R, 1).astype(
            np.uint64
        )
        has_R = num_captions_R > 0
        # A picture without caption points at the last one and takes nothing of it.
        captions_R = np.minimum(first_R + drawn_R.astype(np.int64), len(caption_offsets) - 2)
        begin_R = caption_offsets[captions_R]
        length = self._start.max_caption_tokens
        lengths_R = np.minimum(caption_offsets[captions_R + 1] - begin_R, length) * has_R
        places_RL = np.arange(length)
        taken_RL = places_RL < lengths_R[:, None]
        at_RL = np.minimum(begin_R[:, None] + places_RL, len(ids_T) - 1)
        return np.where(taken_RL, ids_T[at_RL], self._pad_id).astype(np.int64), lengths_R


def _check(
    encoded: EncodedImages,
    split: str,
    batch_size: int,
    rank: int,
    world_size: int,
    condition: Condition,
    max_caption_tokens: int,
) -> None:
    check_rows("batch_size", batch_size, rank, world_size)
    if max_caption_tokens < 1:
        raise InvalidInput.for_field("max_caption_tokens", max_caption_tokens, "must be at least 1")
    if condition not in ("none", "class", "caption"):
        raise InvalidInput.for_field("condition", condition, "is unknown", "choose none, class or caption")
    if not encoded.num_images(split):
        raise InvalidInput.for_field("split", split, "has no pictures")
    if condition == "class" and (num_without := int((encoded.classes(split) == NO_CLASS).sum())):
        problem = f"{num_without:,} of the {encoded.num_images(split):,} pictures of {split!r} have no class"
        raise InvalidInput.for_field("condition", condition, problem, "choose caption or none")
    if condition == "caption" and not len(encoded.captions(split).ids_T):
        problem = f"split {split!r} has no captions" + ("" if encoded.tokenizer else " with a tokenizer")
        raise InvalidInput.for_field("condition", condition, problem, "choose class or none")
