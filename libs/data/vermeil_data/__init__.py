"""Samples, shards, tokenizers and loading: from raw documents to batches of token ids.

Only loading needs torch; it is imported when its names are first used, so that processes which
ingest or encode start at once.
"""

from typing import TYPE_CHECKING

from vermeil_data.card import DatasetCard, ShardCard, Skipped, SplitCard, TokenizerCard
from vermeil_data.dataset import Dataset, Split, open_dataset
from vermeil_data.detokenizer import Detokenizer
from vermeil_data.encode import encode_dataset, fit_tokenizer
from vermeil_data.encoded import EncodedDataset, TokenArrays, open_encoded
from vermeil_data.sample import Sample, Segment
from vermeil_data.split import MIN_DOCUMENTS, SplitBy, Splitter
from vermeil_data.tokenizer import TextTokenizer, TokenizerKind
from vermeil_data.tokenizer_training import TokenizerSpec, train_tokenizer
from vermeil_data.writer import DatasetWriter, write_dataset

if TYPE_CHECKING:
    from vermeil_data.loader import Batch, Loader, LoaderState

__all__ = [
    "MIN_DOCUMENTS",
    "Batch",
    "Dataset",
    "DatasetCard",
    "DatasetWriter",
    "Detokenizer",
    "EncodedDataset",
    "Loader",
    "LoaderState",
    "Sample",
    "Segment",
    "ShardCard",
    "Skipped",
    "Split",
    "SplitBy",
    "SplitCard",
    "Splitter",
    "TextTokenizer",
    "TokenArrays",
    "TokenizerCard",
    "TokenizerKind",
    "TokenizerSpec",
    "encode_dataset",
    "fit_tokenizer",
    "open_dataset",
    "open_encoded",
    "train_tokenizer",
    "write_dataset",
]


def __getattr__(name: str) -> object:
    if name in ("Batch", "Loader", "LoaderState"):
        from vermeil_data import loader  # noqa: PLC0415

        return getattr(loader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
