"""Raw samples of texts and pictures to encoded samples, as a stream: whatever order they tell them in.

The same samples, size and tokenizer give the same bytes. A picture that many samples show is decoded
and kept once.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from vermeil_errors import InvalidInput

from vermeil_data.arrays import ArrayWriter, offsets_of, part_file, write_array
from vermeil_data.card import DatasetCard, ImagesCard, SplitCard, TokenizerCard
from vermeil_data.dataset import Dataset
from vermeil_data.encode_images import ImageEncoding, class_names
from vermeil_data.encoded_images import NO_CLASS
from vermeil_data.encoded_samples import NO_PICTURE, PARTS, EncodedSamples
from vermeil_data.pictures import CLASS
from vermeil_data.sample import Sample, Segment
from vermeil_data.shard import file_sha256, from_batch, shard_card
from vermeil_data.tokenizer import TOKENIZER_FILE, TextTokenizer

_ENCODED_AT_ONCE = 256
Report = Callable[[int, int], None]
"""Called with samples done and samples in all; may raise to stop."""


def encode_samples(
    raw: Dataset,
    spec: ImageEncoding,
    tokenizer: TextTokenizer,
    out: Path,
    *,
    progress: Report | None = None,
) -> EncodedSamples:
    """Lay down captioned pictures, questions about pictures, texts, and any mixture in one sample.

    A tokenizer without <boi> and <eoi> gets them. A picture of which nothing is said but its class is
    captioned by the name of that.
    """
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer.with_picture_marks()
    classes = class_names(raw)
    total = sum(split.num_samples for split in raw.card.splits.values())
    done = 0
    splits: dict[str, SplitCard] = {}
    for name, card in sorted(raw.card.splits.items()):
        writer = _SplitWriter(out, name, spec, classes, tokenizer)
        try:
            for found in _in_lots(raw.split(name).batches()):
                if progress:
                    progress(done, total)
                writer.add(found)
                done += len(found)
            splits[name] = writer.finish(card)
        finally:
            writer.close()
    if progress:
        progress(done, total)
    tokenizer.save(out)
    DatasetCard(
        name=raw.card.name,
        kind="encoded-samples",
        splits=splits,
        source=raw.card.source,
        licence=raw.card.licence,
        counts=raw.card.counts,
        skipped=raw.card.skipped,
        tokenizer=TokenizerCard(tokenizer.kind, tokenizer.vocab_size, file_sha256(out / TOKENIZER_FILE)),
        images=ImagesCard(spec.height, spec.width, spec.channels, spec.fit, classes),
    ).save(out)
    return EncodedSamples(out)


def _in_lots(batches: Iterable[pa.RecordBatch]) -> Iterator[list[Sample]]:
    for batch in batches:
        samples = from_batch(batch)
        while found := list(islice(samples, _ENCODED_AT_ONCE)):
            yield found


class _SplitWriter:
    """Writes one split, pixels and ids as they come."""

    def __init__(
        self,
        folder: Path,
        split: str,
        spec: ImageEncoding,
        classes: tuple[str, ...],
        tokenizer: TextTokenizer,
    ) -> None:
        self._paths = {part: folder / part_file(split, part) for part in PARTS}
        self._spec, self._tokenizer = spec, tokenizer
        self._class_ids = {name: index for index, name in enumerate(classes)}
        self._known: dict[bytes, int] = {}
        """Picture numbers by the sha256 of the file."""
        self._lengths, self._pictures, self._learned = array("q"), array("q"), array("b")
        self._num_segments, self._classes = array("q"), array("q")
        id_type = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
        self._ids = ArrayWriter(self._paths["ids"], id_type)
        self._pixels = ArrayWriter(self._paths["pixels"], np.uint8, (spec.channels, spec.height, spec.width))

    def add(self, samples: Sequence[Sample]) -> None:
        """Append samples."""
        texts: list[str] = []
        where: list[int] = []
        for sample in samples:
            segments = _told(sample)
            self._num_segments.append(len(segments))
            self._classes.append(self._class_ids.get(sample.metadata.get(CLASS, ""), NO_CLASS))
            for segment in segments:
                if segment.modality == "text":
                    where.append(len(self._lengths))
                    texts.append(segment.text or "")
                    self._pictures.append(NO_PICTURE)
                else:
                    self._pictures.append(self._picture(segment, sample.id))
                self._lengths.append(0)
                self._learned.append(segment.role == "target")
        for at, ids in zip(where, self._tokenizer.encode_batch(texts), strict=True):
            self._lengths[at] = len(ids)
            self._ids.add(ids)

    def finish(self, card: SplitCard) -> SplitCard:
        """Write the small arrays; the card of the split."""
        self._pixels.finish()
        self._ids.finish()
        write_array(self._paths["text_offsets"], offsets_of(self._lengths))
        write_array(self._paths["pictures"], np.asarray(self._pictures, np.int64))
        write_array(self._paths["learned"], np.asarray(self._learned, np.bool_))
        write_array(self._paths["sample_offsets"], offsets_of(self._num_segments))
        write_array(self._paths["classes"], np.asarray(self._classes, np.int64))
        shards = tuple(shard_card(path, card.num_samples) for path in self._paths.values())
        return SplitCard(
            card.num_samples,
            card.num_characters,
            card.num_bytes,
            shards,
            num_tokens=self._ids.num_rows,
            num_pictures=self._pixels.num_rows,
        )

    def close(self) -> None:
        """Let go of the files."""
        self._pixels.close()
        self._ids.close()

    def _picture(self, segment: Segment, name: str) -> int:
        file = segment.data or b""
        digest = hashlib.sha256(file).digest()
        if digest not in self._known:
            self._known[digest] = self._pixels.num_rows
            self._pixels.add(self._spec.pixels(file, name)[None])
        return self._known[digest]


def _told(sample: Sample) -> tuple[Segment, ...]:
    """The segments of a sample; before a picture without a word stands the name of its class."""
    for segment in sample.segments:
        if segment.modality not in ("text", "image"):
            raise InvalidInput(
                f"has a segment of {segment.modality}, where only texts and pictures are read",
                field=sample.id or "sample",
                fix="leave such samples out",
            )
    segments = tuple(sample.segments)
    if CLASS in sample.metadata and [segment.modality for segment in segments] == ["image"]:
        return (Segment("text", "given", text=sample.metadata[CLASS]), *segments)
    return segments
