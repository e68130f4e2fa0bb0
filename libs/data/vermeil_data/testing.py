"""Small datasets by formula, for the tests of everything that reads datasets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from vermeil_data.dataset import open_dataset
from vermeil_data.encode import encode_dataset, fit_tokenizer
from vermeil_data.encoded import EncodedDataset
from vermeil_data.sample import Sample
from vermeil_data.tokenizer_training import TokenizerSpec
from vermeil_data.writer import write_dataset

_WORDS = (
    *("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"),
    *("while", "seven", "wizards", "box", "the", "quiet", "judge"),
)


def documents(count: int) -> list[str]:
    """Different texts of 2 to 24 words."""
    return [
        " ".join(_WORDS[(index * 7 + word * 3) % len(_WORDS)] for word in range(1 + index % 23))
        + f" {index}\n"
        for index in range(count)
    ]


def encoded_texts(folder: Path, texts: Mapping[str, Sequence[str]], spec: TokenizerSpec) -> EncodedDataset:
    """An encoded dataset of the texts of each split, made in `folder`."""
    samples = {
        split: [Sample.of_text(text, id=f"{split}/{index}") for index, text in enumerate(of_split)]
        for split, of_split in texts.items()
    }
    write_dataset(folder / "raw", samples, "words")
    raw = open_dataset(folder / "raw")
    return encode_dataset(raw, fit_tokenizer(raw, spec), folder / "encoded")
