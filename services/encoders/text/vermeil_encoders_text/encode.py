"""Text to token ids, plain: a dataset folder to an encoded one, and a few texts at once."""

from collections.abc import Callable, Sequence
from pathlib import Path

from vermeil_data import (
    EncodedDataset,
    TextTokenizer,
    TokenizerSpec,
    encode_dataset,
    fit_tokenizer,
    open_dataset,
)
from vermeil_errors import InvalidInput, TooLarge

MAX_TEXTS = 256
MAX_BYTES = 1 << 20
"""Of all texts of one call: their ids must fit into one answer."""

Report = Callable[[int, int, str], None]
"""Called with documents done, documents in all and a sentence; may raise to stop."""


def encode(
    raw_folder: Path, tokenizer: TokenizerSpec | TextTokenizer, folder: Path, report: Report
) -> EncodedDataset:
    """Encode a raw dataset into `folder`, by a tokenizer that is there or is made for it."""
    raw = open_dataset(raw_folder)
    total = sum(split.num_samples for split in raw.card.splits.values())
    if isinstance(tokenizer, TokenizerSpec):
        tokenizer = fit_tokenizer(raw, tokenizer, lambda: report(0, total, "making the tokenizer"))
    return encode_dataset(raw, tokenizer, folder, lambda done, total: report(done, total, "encoding"))


def encode_texts(texts: Sequence[str], tokenizer: TextTokenizer) -> list[list[int]]:
    """Ids of a few texts, without <bos>."""
    return [ids.tolist() for ids in tokenizer.encode_batch(texts)]


def check_texts(texts: Sequence[str]) -> None:
    """Refuse what is no call for a few texts."""
    if not 1 <= len(texts) <= MAX_TEXTS:
        raise InvalidInput.for_field(
            "texts", len(texts), "is not a number of texts to send", f"send 1 to {MAX_TEXTS}"
        )
    num_bytes = sum(len(text.encode()) for text in texts)
    if num_bytes > MAX_BYTES:
        raise TooLarge(
            f"have {num_bytes:,} bytes together, the limit is {MAX_BYTES:,}",
            field="texts",
            fix="ingest them and encode the dataset",
        )
