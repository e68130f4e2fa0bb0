"""The documents of a split as items, from a raw dataset or from an encoded one.

Of a raw dataset an item has its "text", of an encoded one its "ids", <bos> first; both have "num_bytes".
"""

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from vermeil_data import DatasetCard, EncodedDataset, open_dataset, open_encoded
from vermeil_data.card import load_card
from vermeil_data.tokenizer import TOKENIZER_FILE
from vermeil_errors import InvalidInput

from vermeil_evaluator.item import Item
from vermeil_evaluator.models.model import Model
from vermeil_evaluator.task import Material


class Documents:
    """The first `limit` documents of a split (0: all), in the order of the dataset."""

    def __init__(self, folder: Path, split: str, limit: int, model: Model) -> None:
        self._folder, self._split, self._model = folder, split, model
        self._is_raw = is_raw(folder)
        self.card: DatasetCard = (open_dataset if self._is_raw else open_encoded)(folder).card
        check_split(self.card, split)
        available = self.card.splits[split].num_samples
        self._num_documents = min(limit, available) if limit else available
        if not self._num_documents:
            raise InvalidInput.for_field(
                "spec.split", split, "has no documents", "use another split or dataset"
            )

    def __len__(self) -> int:
        return self._num_documents

    def __iter__(self) -> Iterator[Item]:
        return islice(self._raw() if self._is_raw else self._encoded(), self._num_documents)

    @property
    def sha256(self) -> str:
        """Of the split's content: equal for the same data under any name."""
        return split_sha256(self.card, self._split)

    def _raw(self) -> Iterator[Item]:
        for sample in open_dataset(self._folder).split(self._split):
            text = sample.text
            yield Item(sample.id, {"text": text, "num_bytes": len(text.encode())})

    def _encoded(self) -> Iterator[Item]:
        dataset = open_encoded(self._folder)
        self._check_tokenizer(dataset)
        ids, offsets = dataset.tokens(self._split)
        sizes = dataset.document_bytes(self._split)
        for index, size in enumerate(sizes.tolist()):
            document = ids[offsets[index] : offsets[index + 1]].astype(np.int64)
            yield Item(str(index), {"ids": tuple(document.tolist()), "num_bytes": size})

    def _check_tokenizer(self, dataset: EncodedDataset) -> None:
        """Ids mean something in one vocabulary only."""
        if not self._model.reads((dataset.folder / TOKENIZER_FILE).read_bytes()):
            raise InvalidInput.for_field(
                "spec.dataset",
                self.card.name,
                "was encoded with another tokenizer than the model's",
                "name the dataset it was encoded from",
            )


def documents(material: Material) -> Documents:
    """The items of tasks about documents."""
    return Documents(material.data, material.split, material.limit, material.model)


def check_split(card: DatasetCard, split: str) -> None:
    """Refuse a split that a dataset does not have."""
    if split not in card.splits:
        raise InvalidInput.for_field(
            "spec.split",
            split,
            f"dataset {card.name} has no such split",
            f"use {' or '.join(card.splits)}",
        )


def split_sha256(card: DatasetCard, split: str) -> str:
    """Of a split's shards."""
    shards = (shard.sha256 for shard in card.splits[split].shards)
    return hashlib.sha256("\n".join(shards).encode()).hexdigest()


def is_raw(folder: Path) -> bool:
    """Whether a folder holds a raw dataset rather than an encoded one; refused if neither."""
    try:
        load_card(folder, "raw")
    except InvalidInput:
        load_card(folder, "encoded")  # says what is wrong if it is neither
        return False
    return True
