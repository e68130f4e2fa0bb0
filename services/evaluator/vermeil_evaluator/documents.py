"""The documents of a split as token ids, from a raw dataset or from an encoded one.

Every document begins with <bos>, which gives the first token something to follow and is not scored
itself. Nothing stands at its end.
"""

# ruff: noqa: N815

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from vermeil_data import (
    DatasetCard,
    EncodedDataset,
    Sample,
    TextTokenizer,
    open_dataset,
    open_encoded,
)
from vermeil_data.card import load_card
from vermeil_data.tokenizer import TOKENIZER_FILE
from vermeil_errors import InvalidInput

_TEXTS_AT_ONCE = 64


@dataclass(frozen=True)
class Document:
    """One text, ready to be scored. N tokens and <bos> before them."""

    id: str
    """Where it came from; in an encoded dataset its number."""
    ids_N1: npt.NDArray[np.int64]
    """<bos> and the tokens."""
    num_bytes: int
    """Of its text as UTF-8."""

    @property
    def num_tokens(self) -> int:
        """Tokens that are scored."""
        return len(self.ids_N1) - 1


class Documents:
    """The first `limit` documents of a split (0: all), in the order of the dataset."""

    def __init__(self, folder: Path, split: str, limit: int, tokenizer: TextTokenizer, model: Path) -> None:
        self._folder, self._split, self._tokenizer, self._model = folder, split, tokenizer, model
        self._is_raw = _is_raw(folder)
        self.card: DatasetCard = (open_dataset if self._is_raw else open_encoded)(folder).card
        if split not in self.card.splits:
            raise InvalidInput.for_field(
                "spec.split",
                split,
                f"dataset {self.card.name} has no such split",
                f"use {' or '.join(self.card.splits)}",
            )
        available = self.card.splits[split].num_samples
        self._num_documents = min(limit, available) if limit else available
        if not self._num_documents:
            raise InvalidInput.for_field(
                "spec.split", split, "has no documents", "use another split or dataset"
            )

    def __len__(self) -> int:
        return self._num_documents

    def __iter__(self) -> Iterator[Document]:
        return islice(self._raw() if self._is_raw else self._encoded(), self._num_documents)

    @property
    def sha256(self) -> str:
        """Of the split's content: equal for the same data under any name."""
        shards = (shard.sha256 for shard in self.card.splits[self._split].shards)
        return hashlib.sha256("\n".join(shards).encode()).hexdigest()

    def _raw(self) -> Iterator[Document]:
        samples = iter(open_dataset(self._folder).split(self._split))
        while some := list(islice(samples, _TEXTS_AT_ONCE)):
            texts = [sample.text for sample in some]
            for sample, text, ids in zip(some, texts, self._encode(some, texts), strict=True):
                with_bos = np.concatenate(([self._tokenizer.bos_id], ids)).astype(np.int64)
                yield Document(sample.id, with_bos, len(text.encode()))

    def _encode(self, samples: Sequence[Sample], texts: Sequence[str]) -> list[npt.NDArray[np.uint32]]:
        try:
            return self._tokenizer.encode_batch(texts)
        except InvalidInput:
            for sample, text in zip(samples, texts, strict=True):
                try:
                    self._tokenizer.encode(text)
                except InvalidInput as error:
                    raise InvalidInput(f"{sample.id}: {error.message}", fix=error.fix) from error
            raise

    def _encoded(self) -> Iterator[Document]:
        dataset = open_encoded(self._folder)
        self._check_tokenizer(dataset)
        ids, offsets = dataset.tokens(self._split)
        sizes = dataset.document_bytes(self._split)
        for index, size in enumerate(sizes.tolist()):
            document = ids[offsets[index] : offsets[index + 1]].astype(np.int64)
            yield Document(str(index), document, size)

    def _check_tokenizer(self, dataset: EncodedDataset) -> None:
        """Ids mean something in one vocabulary only."""
        theirs, ours = ((folder / TOKENIZER_FILE).read_bytes() for folder in (dataset.folder, self._model))
        if theirs != ours:
            raise InvalidInput.for_field(
                "spec.dataset",
                self.card.name,
                "was encoded with another tokenizer than the model's",
                "name the dataset it was encoded from",
            )


def _is_raw(folder: Path) -> bool:
    try:
        load_card(folder, "raw")
    except InvalidInput:
        load_card(folder, "encoded")  # says what is wrong if it is neither
        return False
    return True
