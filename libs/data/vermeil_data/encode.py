"""Raw dataset to encoded dataset, as a stream. The same samples and tokenizer give the same bytes."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vermeil_data.card import DatasetCard, SplitCard, TokenizerCard
from vermeil_data.dataset import Dataset
from vermeil_data.encoded import EncodedDataset, TokenWriter
from vermeil_data.shard import file_sha256, from_batch
from vermeil_data.split import TRAIN
from vermeil_data.tokenizer import TOKENIZER_FILE, TextTokenizer
from vermeil_data.tokenizer_training import TokenizerSpec, train_tokenizer

TRAINING_CHARACTERS = 100_000_000
"""A BPE learns from at most about this much text, spread evenly over the training split."""

Report = Callable[[int, int], None]
"""Called with samples done and samples in all; may raise to stop."""


def fit_tokenizer(
    raw: Dataset, spec: TokenizerSpec, check: Callable[[], None] | None = None
) -> TextTokenizer:
    """Make a tokenizer for a dataset: BPE from the training split, an alphabet from all splits.

    `check` is called while texts are read, and may raise to stop.
    """
    if spec.kind == "byte":
        return train_tokenizer([], spec)
    splits = sorted(raw.card.splits) if spec.kind == "character" else [TRAIN]
    num_characters = sum(raw.split_card(split).num_characters for split in splits)
    stride = 1 if spec.kind == "character" else max(1, num_characters // TRAINING_CHARACTERS)

    def texts() -> Iterator[str]:
        for split in splits:
            for index, sample in enumerate(raw.split(split)):
                if check:
                    check()
                if index % stride == 0:
                    yield sample.text

    return train_tokenizer(texts(), spec)


def encode_dataset(
    raw: Dataset, tokenizer: TextTokenizer, folder: Path, report: Report | None = None
) -> EncodedDataset:
    """Write the ids of every split, one row a document, each after a <bos>."""
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(split.num_samples for split in raw.card.splits.values())
    done = 0

    def tell() -> None:
        if report:
            report(done, total)

    splits: dict[str, SplitCard] = {}
    for name, card in sorted(raw.card.splits.items()):
        writer = TokenWriter(folder, name, tokenizer.vocab_size)
        try:
            for texts in _texts(raw.split(name).batches()):
                ids = tokenizer.encode_batch(texts, tell)
                writer.add(_with_bos(ids, tokenizer.bos_id), [len(text.encode()) for text in texts])
                done += len(texts)
                tell()
            shard, num_tokens = writer.finish()
        finally:
            writer.close()
        splits[name] = SplitCard(card.num_samples, card.num_characters, card.num_bytes, (shard,), num_tokens)
    tokenizer.save(folder)
    about = TokenizerCard(tokenizer.kind, tokenizer.vocab_size, file_sha256(folder / TOKENIZER_FILE))
    DatasetCard(
        name=raw.card.name,
        kind="encoded",
        splits=splits,
        source=raw.card.source,
        licence=raw.card.licence,
        counts=raw.card.counts,
        skipped=raw.card.skipped,
        tokenizer=about,
    ).save(folder)
    return EncodedDataset(folder)


def _texts(batches: Iterator[pa.RecordBatch]) -> Iterator[list[str]]:
    for batch in batches:
        yield [sample.text for sample in from_batch(batch)]


def _with_bos(documents: Sequence[npt.NDArray[np.uint32]], bos_id: int) -> list[npt.NDArray[np.uint32]]:
    bos = np.array([bos_id], np.uint32)
    return [np.concatenate((bos, ids)) for ids in documents]
