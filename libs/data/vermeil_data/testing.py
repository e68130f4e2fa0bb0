"""Small datasets by formula, for the tests of everything that reads datasets."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from vermeil_media import encode_png

from vermeil_data.dataset import open_dataset
from vermeil_data.encode import encode_dataset, fit_tokenizer
from vermeil_data.encode_images import ImageEncoding, encode_images
from vermeil_data.encode_samples import encode_samples
from vermeil_data.encoded import EncodedDataset
from vermeil_data.encoded_images import EncodedImages
from vermeil_data.encoded_samples import EncodedSamples
from vermeil_data.sample import Sample, Segment
from vermeil_data.tokenizer import TextTokenizer
from vermeil_data.tokenizer_training import TokenizerSpec
from vermeil_data.writer import write_dataset

_WORDS = (
    *("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"),
    *("while", "seven", "wizards", "box", "the", "quiet", "judge"),
)

_CLASSES = ("stripe", "check", "slope")


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


def picture_samples(count: int, height: int = 8, width: int = 8, channels: int = 3) -> list[Sample]:
    """Different pictures of three classes, with one to three captions each."""
    samples = []
    for index in range(count):
        kind = index % len(_CLASSES)
        rows, columns, planes = np.ogrid[:height, :width, :channels]
        pixels = np.asarray((rows * (kind + 1) + columns * index + planes * 50 + index * 7) % 256, np.uint8)
        captions = [f"{_CLASSES[kind]} number {index}", _CLASSES[kind], f"a {_CLASSES[kind]}"]
        metadata = {"class": _CLASSES[kind], "class_number": str(kind)}
        named = captions[: 1 + index % 3]
        samples.append(
            Sample.of_image(encode_png(pixels), "image/png", named, id=f"{index}", metadata=metadata)
        )
    return samples


def encoded_pictures(
    folder: Path,
    counts: Mapping[str, int],
    spec: ImageEncoding,
    tokenizer: TokenizerSpec | None = None,
) -> EncodedImages:
    """Encoded images of so many pictures in each split, made in `folder`."""
    samples = {split: picture_samples(count) for split, count in counts.items()}
    write_dataset(folder / "raw", samples, "pictures")
    raw = open_dataset(folder / "raw")
    fitted = fit_tokenizer(raw, tokenizer) if tokenizer else None
    return encode_images(raw, spec, folder / "encoded", tokenizer=fitted)


def asked_samples(count: int, height: int = 8, width: int = 8) -> list[Sample]:
    """Questions about pictures with their answers, two to a picture."""
    found = []
    for index in range(count):
        picture = picture_samples(index // 2 + 1, height, width)[-1]
        kind = picture.metadata["class"]
        asked = ("what is it?", kind) if index % 2 else (f"is it a {_CLASSES[0]}?", yes(kind == _CLASSES[0]))
        shown = Segment("image", "given", data=picture.segments[-1].data, media_type="image/png")
        told = (shown, Segment("text", "given", text=asked[0]), Segment("text", text=asked[1]))
        found.append(Sample(told, f"asked/{index}"))
    return found


def yes(is_so: bool) -> str:
    """What is said to that."""
    return "yes" if is_so else "no"


def encoded_samples(
    folder: Path,
    samples: Mapping[str, Iterable[Sample]],
    tokenizer: TextTokenizer,
    spec: ImageEncoding | None = None,
) -> EncodedSamples:
    """Encoded samples of each split, made in `folder`; pictures of 8 × 8 in colour."""
    write_dataset(folder / "raw", samples, "samples")
    return encode_samples(
        open_dataset(folder / "raw"), spec or ImageEncoding(8, 8), tokenizer, folder / "encoded"
    )
