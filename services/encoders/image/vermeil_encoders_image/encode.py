"""Pictures to pixels of one size, plain: a dataset folder to an encoded one."""

from collections.abc import Callable
from pathlib import Path

from vermeil_data import (
    EncodedImages,
    ImageEncoding,
    TextTokenizer,
    TokenizerSpec,
    encode_images,
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
    total = sum(split.num_samples for split in raw.card.splits.values())
    if isinstance(tokenizer, TokenizerSpec):
        tokenizer = fit_tokenizer(raw, tokenizer, lambda: report(0, total, "making the tokenizer"))
    return encode_images(
        raw,
        form,
        folder,
        tokenizer=tokenizer,
        progress=lambda done, total: report(done, total, "encoding"),
    )
