"""The data card: what a dataset folder holds, where it came from, and the checksums of its shards."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from vermeil_errors import DataCorrupted, InvalidInput, NotFound

CARD_FILE = "dataset.json"
FORMAT_VERSION = 1

DatasetKind = Literal["raw", "encoded", "encoded-images", "encoded-samples"]


@dataclass(frozen=True)
class ShardCard:
    """One file of a split."""

    path: str
    """Relative to the folder."""
    num_samples: int
    num_bytes: int
    """Size of the file."""
    sha256: str


@dataclass(frozen=True)
class SplitCard:
    """One split: train, validation, …"""

    num_samples: int
    num_characters: int
    """Unicode code points of text."""
    num_bytes: int
    """UTF-8 bytes of text, and bytes of other media."""
    shards: tuple[ShardCard, ...]
    num_tokens: int | None = None
    """With one <bos> a document; encoded datasets only."""
    num_pictures: int | None = None
    """Different ones; encoded samples only."""


@dataclass(frozen=True)
class TokenizerCard:
    """The tokenizer of an encoded dataset."""

    kind: str
    """bpe, byte, character, or other for one that was brought along."""
    vocab_size: int
    """Entries with special tokens."""
    sha256: str
    """Of tokenizer.json."""


@dataclass(frozen=True)
class ImagesCard:
    """The pictures of a dataset of encoded images, all of one size."""

    height: int
    """Pixels."""
    width: int
    channels: int
    """1 grey, 3 red-green-blue, 4 with alpha."""
    fit: str
    """How pictures of other shapes were made to fit: crop, pad or stretch."""
    classes: tuple[str, ...]
    """Names by class id; none if the samples name no class."""


@dataclass(frozen=True)
class Skipped:
    """Something that was left out, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class DatasetCard:
    """A pure function of the content: no dates, no machine names."""

    name: str
    kind: DatasetKind
    splits: Mapping[str, SplitCard]
    source: str = ""
    """Where the data come from, for people."""
    licence: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What happened to the files and samples read: written, duplicates, empty, binary, …"""
    skipped: tuple[Skipped, ...] = ()
    """The first of those left out; counts has them all."""
    tokenizer: TokenizerCard | None = None
    """Encoded datasets only; of images, where captions were encoded."""
    images: ImagesCard | None = None
    """Encoded images and samples only."""
    format_version: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        if self.images is None:
            del values["images"]
        if self.tokenizer is None:
            del values["tokenizer"]
        for split in values["splits"].values():
            for name in ("num_tokens", "num_pictures"):
                if split[name] is None:
                    del split[name]
        return values

    def save(self, folder: Path) -> None:
        """Write dataset.json; the same card gives the same bytes."""
        text = json.dumps(self.to_dict(), indent=2, sort_keys=True, ensure_ascii=False)
        (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")


def load_card(folder: Path, kind: DatasetKind) -> DatasetCard:
    """Read dataset.json of a folder that must hold this kind of dataset."""
    path = folder / CARD_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version, found = values["format_version"], values["kind"]
    except FileNotFoundError as error:
        raise NotFound(f"no dataset here: {CARD_FILE} is missing", field=str(folder)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataCorrupted(f"is not a data card: {error}", field=str(path)) from error
    if version != FORMAT_VERSION:
        raise InvalidInput(f"has format {version}; this code reads {FORMAT_VERSION}", field=str(path))
    if found != kind:
        raise InvalidInput(f"is a dataset of kind {found!r}, where {kind!r} is needed", field=str(folder))
    try:
        return _from_dict(values)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataCorrupted(f"is not a data card: {error}", field=str(path)) from error


def _from_dict(values: dict[str, Any]) -> DatasetCard:
    splits = {
        name: SplitCard(**{**split, "shards": tuple(ShardCard(**shard) for shard in split["shards"])})
        for name, split in values["splits"].items()
    }
    tokenizer, images = values.get("tokenizer"), values.get("images")
    return DatasetCard(
        **{
            **values,
            "splits": splits,
            "skipped": tuple(Skipped(**entry) for entry in values["skipped"]),
            "tokenizer": TokenizerCard(**tokenizer) if tokenizer else None,
            "images": ImagesCard(**{**images, "classes": tuple(images["classes"])}) if images else None,
        }
    )
