"""Pictures to pixels of one size, plain: a dataset folder to an encoded one, of pictures or of samples."""

from collections.abc import Callable
from pathlib import Path

from vermeil_data import (
    Dataset,
    EncodedImages,
    EncodedSamples,
    ImageEncoding,
    TextTokenizer,
    TokenizerSpec,
    encode_images,
    encode_samples,
    fit_tokenizer,
    open_dataset,
)

Report = Callable[[int, int, str], None]
"""Called with pictures done, pictures in all and a sentence; may raise to stop."""


def encode(
    raw_folder: Path,
    form: ImageEncoding,
    tokenizer: TokenizerSpec | TextTokenizer | None,
    folder: Path,
    report: Report,
) -> EncodedImages:
    """Encode a raw dataset into `folder`; captions by a tokenizer that is there or is made for them."""
    raw = open_dataset(raw_folder)
    return encode_images(
        raw,
        form,
        folder,
        tokenizer=_made(tokenizer, raw, report) if tokenizer else None,
        progress=lambda done, total: report(done, total, "encoding"),
    )


def encode_told(
    raw_folder: Path,
    form: ImageEncoding,
    tokenizer: TokenizerSpec | TextTokenizer,
    folder: Path,
    report: Report,
) -> EncodedSamples:
    """The same with texts and pictures in the order in which samples tell them, for mixtures."""
    raw = open_dataset(raw_folder)
    return encode_samples(
        raw,
        form,
        _made(tokenizer, raw, report),
        folder,
        progress=lambda done, total: report(done, total, "encoding"),
    )


def _made(tokenizer: TokenizerSpec | TextTokenizer, raw: Dataset, report: Report) -> TextTokenizer:
    if isinstance(tokenizer, TextTokenizer):
        return tokenizer
    total = sum(split.num_samples for split in raw.card.splits.values())
    return fit_tokenizer(raw, tokenizer, lambda: report(0, total, "making the tokenizer"))
