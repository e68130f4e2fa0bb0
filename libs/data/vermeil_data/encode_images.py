"""Raw pictures to encoded images, as a stream. The same samples, size and tokenizer give the same bytes."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from vermeil_errors import InvalidInput
from vermeil_media import Channels, Fit, ImageLimits, Pixels, decode_image, resize_image

from vermeil_data.arrays import ArrayWriter, offsets_of, part_file, write_array
from vermeil_data.card import DatasetCard, ImagesCard, SplitCard, TokenizerCard
from vermeil_data.dataset import Dataset
from vermeil_data.encoded_images import NO_CLASS, PARTS, EncodedImages
from vermeil_data.pictures import CLASS, CLASS_NUMBER, Picture, batch_metadata, pictures
from vermeil_data.shard import file_sha256, shard_card
from vermeil_data.tokenizer import TOKENIZER_FILE, TextTokenizer

_ENCODED_AT_ONCE = 256
Report = Callable[[int, int], None]
"""Called with samples done and samples in all; may raise to stop."""


@dataclass(frozen=True)
class ImageEncoding:
    """The form in which pictures are laid down."""

    height: int
    """Pixels, 1 to 4096."""
    width: int
    channels: Channels = 3
    """1 grey, 3 red-green-blue, 4 with alpha."""
    fit: Fit = "crop"
    """What happens to pictures of another shape: crop, pad or stretch."""

    def __post_init__(self) -> None:
        for field in ("height", "width"):
            if not 1 <= getattr(self, field) <= 4096:
                raise InvalidInput.for_field(field, getattr(self, field), "must be 1 to 4096")
        if self.channels not in (1, 3, 4):
            raise InvalidInput.for_field("channels", self.channels, "is unknown", "choose 1, 3 or 4")
        if self.fit not in ("crop", "pad", "stretch"):
            raise InvalidInput.for_field("fit", self.fit, "is unknown", "choose crop, pad or stretch")

    def pixels(self, file: bytes, name: str, *, limits: ImageLimits = ImageLimits()) -> Pixels:  # noqa: B008
        """A picture in this form (C, H, W); errors call it `name`."""
        pixels_HWC = decode_image(file, channels=self.channels, limits=limits, name=name)
        return resize_image(pixels_HWC, self.height, self.width, self.fit).transpose(2, 0, 1)


def encode_images(
    raw: Dataset,
    spec: ImageEncoding,
    out: Path,
    *,
    tokenizer: TextTokenizer | None = None,
    progress: Report | None = None,
) -> EncodedImages:
    """Decode and resize every picture; captions become ids where there is a tokenizer."""
    out.mkdir(parents=True, exist_ok=True)
    classes = class_names(raw)
    total = sum(split.num_samples for split in raw.card.splits.values())
    done = 0
    splits: dict[str, SplitCard] = {}
    for name, card in sorted(raw.card.splits.items()):
        writer = _SplitWriter(out, name, spec, classes, tokenizer, card.num_samples)
        try:
            for batch in raw.split(name).batches():
                found = list(pictures(batch))
                for start in range(0, len(found), _ENCODED_AT_ONCE):
                    if progress:
                        progress(done, total)
                    done += writer.add(found[start : start + _ENCODED_AT_ONCE])
            splits[name] = writer.finish(card)
        finally:
            writer.close()
    if progress:
        progress(done, total)
    return _finished(raw, spec, out, classes, splits, tokenizer)


def class_names(raw: Dataset) -> tuple[str, ...]:
    """The classes of all splits: by their numbers if all have one, else by their names."""
    numbers: dict[str, set[str]] = {}
    for split in raw.card.splits:
        for batch in raw.split(split).batches():
            for metadata in batch_metadata(batch):
                if CLASS in metadata:
                    numbers.setdefault(metadata[CLASS], set()).add(metadata.get(CLASS_NUMBER, ""))
    numbered = {name: next(iter(found)) for name, found in numbers.items() if len(found) == 1}
    if len(numbered) == len(numbers) and all(number.isdecimal() for number in numbered.values()):
        return tuple(sorted(numbered, key=lambda name: (int(numbered[name]), name)))
    return tuple(sorted(numbers))


def _finished(
    raw: Dataset,
    spec: ImageEncoding,
    out: Path,
    classes: tuple[str, ...],
    splits: dict[str, SplitCard],
    tokenizer: TextTokenizer | None,
) -> EncodedImages:
    about = None
    if tokenizer is not None:
        tokenizer.save(out)
        about = TokenizerCard(tokenizer.kind, tokenizer.vocab_size, file_sha256(out / TOKENIZER_FILE))
    DatasetCard(
        name=raw.card.name,
        kind="encoded-images",
        splits=splits,
        source=raw.card.source,
        licence=raw.card.licence,
        counts=raw.card.counts,
        skipped=raw.card.skipped,
        tokenizer=about,
        images=ImagesCard(spec.height, spec.width, spec.channels, spec.fit, classes),
    ).save(out)
    return EncodedImages(out)


class _SplitWriter:
    """Writes one split, pixels as they come."""

    def __init__(
        self,
        folder: Path,
        split: str,
        spec: ImageEncoding,
        classes: tuple[str, ...],
        tokenizer: TextTokenizer | None,
        num_samples: int,
    ) -> None:
        self._paths = {part: folder / part_file(split, part) for part in PARTS}
        self._spec, self._tokenizer, self._num_samples = spec, tokenizer, num_samples
        self._class_ids = {name: index for index, name in enumerate(classes)}
        self._classes, self._caption_lengths, self._num_captions = array("q"), array("q"), array("q")
        self._id_type = np.dtype(
            np.uint16 if tokenizer is None or tokenizer.vocab_size <= 1 << 16 else np.uint32
        )
        self._ids: list[npt.NDArray[Any]] = []
        form = (spec.channels, spec.height, spec.width)
        self._pixels = ArrayWriter(self._paths["pixels"], np.uint8, form)

    def add(self, found: Sequence[Picture]) -> int:
        """Append pictures; how many."""
        for picture in found:
            self._pixels.add(self._spec.pixels(picture.data, picture.id)[None])
            self._classes.append(self._class_ids.get(picture.metadata.get(CLASS, ""), NO_CLASS))
        if self._tokenizer is None:
            self._num_captions.extend(0 for _ in found)
        else:
            ids = self._tokenizer.encode_batch([text for picture in found for text in picture.captions])
            self._ids.extend(caption.astype(self._id_type) for caption in ids)
            self._caption_lengths.extend(len(caption) for caption in ids)
            self._num_captions.extend(len(picture.captions) for picture in found)
        return len(found)

    def finish(self, card: SplitCard) -> SplitCard:
        """Write the small arrays; the card of the split."""
        self._pixels.finish()
        ids = np.concatenate(self._ids) if self._ids else np.zeros(0, self._id_type)
        write_array(self._paths["classes"], np.asarray(self._classes, np.int64))
        write_array(self._paths["caption_ids"], ids)
        write_array(self._paths["caption_offsets"], offsets_of(self._caption_lengths))
        write_array(self._paths["sample_offsets"], offsets_of(self._num_captions))
        shards = tuple(shard_card(path, self._num_samples) for path in self._paths.values())
        num_tokens = None if self._tokenizer is None else len(ids)
        return SplitCard(card.num_samples, card.num_characters, card.num_bytes, shards, num_tokens)

    def close(self) -> None:
        """Let go of the file."""
        self._pixels.close()
