"""Embeddings of a dataset: for each split a float16 matrix of unit vectors and the ids of its samples.

Plain .npy and JSON beside a card; nothing is ever unpickled. Letters: N samples, E embedding width.
"""

# ruff: noqa: N815

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from vermeil_errors import DataCorrupted, InvalidInput

CARD_FILE = "embeddings.json"
FORMAT_VERSION = 1
_COMPARED_AT_ONCE = 1 << 16


class EmbeddedSplit(NamedTuple):
    """The samples of a split as points on the unit sphere."""

    ids: Sequence[str]
    vectors_NE: npt.NDArray[Any]
    """float16, in the order of the split."""


class Neighbour(NamedTuple):
    """A sample near a query."""

    split: str
    place: int
    """In the split, from 0."""
    id: str
    score: float
    """Cosine of the angle between them."""


@dataclass(frozen=True)
class EmbeddingsCard:
    """Where embeddings come from."""

    model: str
    """Name of the model version that made them."""
    dataset: str
    """Name of the dataset version they are of."""
    width: int
    """E."""
    splits: Mapping[str, int]
    """Samples of each split."""


class Embeddings:
    """A folder of embeddings, opened for reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = _load_card(folder)

    def split(self, name: str) -> EmbeddedSplit:
        """One split: ids, and vectors mapped from their file."""
        return self._splits[name]

    def nearest(self, query_E: npt.NDArray[Any], num_found: int) -> list[Neighbour]:
        """The samples of all splits that are nearest to a unit vector, nearest first."""
        if query_E.shape != (self.card.width,):
            raise InvalidInput.for_field(
                "query", query_E.shape, f"is not of width {self.card.width}", "embed it by the same model"
            )
        found: list[Neighbour] = []
        for name, (ids, vectors_NE) in self._splits.items():
            for start in range(0, len(ids), _COMPARED_AT_ONCE):
                scores_N = vectors_NE[start : start + _COMPARED_AT_ONCE].astype(np.float32) @ query_E
                best = np.argsort(-scores_N, kind="stable")[:num_found].tolist()
                found += (Neighbour(name, start + at, ids[start + at], float(scores_N[at])) for at in best)
        return sorted(found, key=lambda each: -each.score)[:num_found]

    @cached_property
    def _splits(self) -> dict[str, EmbeddedSplit]:
        return {name: self._read(name, count) for name, count in self.card.splits.items()}

    def _read(self, name: str, count: int) -> EmbeddedSplit:
        try:
            vectors_NE = np.load(self.folder / _vectors_file(name), mmap_mode="r" if count else None)
            ids: list[str] = json.loads((self.folder / _ids_file(name)).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataCorrupted(
                f"the embeddings of split {name!r} cannot be read: {error}", field=str(self.folder)
            ) from error
        if vectors_NE.shape != (count, self.card.width) or len(ids) != count:
            raise DataCorrupted(
                f"split {name!r} has vectors {vectors_NE.shape} and {len(ids)} ids, its card says {count}",
                field=str(self.folder),
            )
        return EmbeddedSplit(ids, vectors_NE)


def write_embeddings(
    folder: Path, splits: Mapping[str, EmbeddedSplit], *, model: str, dataset: str, width: int
) -> Embeddings:
    """Write the embeddings that `model` made of `dataset`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (ids, vectors_NE) in splits.items():
        np.save(folder / _vectors_file(name), vectors_NE.astype(np.float16), allow_pickle=False)
        (folder / _ids_file(name)).write_text(json.dumps(list(ids), ensure_ascii=False), encoding="utf-8")
    card = EmbeddingsCard(model, dataset, width, {name: len(split.ids) for name, split in splits.items()})
    text = json.dumps({"format_version": FORMAT_VERSION, **asdict(card)}, indent=2, sort_keys=True)
    (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")
    return Embeddings(folder)


def open_embeddings(folder: Path) -> Embeddings:
    """Open a folder of embeddings."""
    return Embeddings(folder)


def _load_card(folder: Path) -> EmbeddingsCard:
    try:
        values = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        version = values.pop("format_version")
        card = EmbeddingsCard(**values)
    except FileNotFoundError as error:
        raise InvalidInput(
            f"no embeddings here: {CARD_FILE} is missing", field=str(folder), fix="embed the dataset first"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataCorrupted(f"the card of embeddings cannot be read: {error}", field=str(folder)) from error
    if version != FORMAT_VERSION:
        raise InvalidInput(f"the embeddings have format version {version}", field=str(folder))
    return card


def _vectors_file(split: str) -> str:
    return f"{split}-embeddings.npy"


def _ids_file(split: str) -> str:
    return f"{split}-ids.json"
