"""Samples, shards, tokenizers and loading: from raw documents and pictures to batches.

Only loading needs torch; it is imported when its names are first used, so that processes which
ingest or encode start at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from vermeil_data.card import DatasetCard, ImagesCard, ShardCard, Skipped, SplitCard, TokenizerCard
from vermeil_data.dataset import Dataset, Split, open_dataset
from vermeil_data.detokenizer import Detokenizer
from vermeil_data.embeddings import EmbeddedSplit, Embeddings, open_embeddings, write_embeddings
from vermeil_data.encode import encode_dataset, fit_tokenizer
from vermeil_data.encode_images import ImageEncoding, encode_images
from vermeil_data.encode_samples import encode_samples
from vermeil_data.encoded import EncodedDataset, TokenArrays, open_encoded
from vermeil_data.encoded_images import Captions, EncodedImages, open_encoded_images
from vermeil_data.encoded_samples import EncodedSamples, SampleArrays, open_encoded_samples
from vermeil_data.mixed_sources import OpenMixture, open_mixture
from vermeil_data.mixture import Mixture, MixtureTask, read_mixture
from vermeil_data.pictures import DecodedPicture, decoded_pictures
from vermeil_data.prompts import PromptSpeller
from vermeil_data.sample import Sample, Segment
from vermeil_data.split import MIN_DOCUMENTS, SplitBy, Splitter
from vermeil_data.tokenizer import TextTokenizer, TokenizerKind
from vermeil_data.tokenizer_training import TokenizerSpec, train_tokenizer
from vermeil_data.writer import DatasetWriter, write_dataset

if TYPE_CHECKING:
    from vermeil_data.image_loader import ImageBatch, ImageLoader, ImageLoaderState
    from vermeil_data.loader import Batch, Loader, LoaderState
    from vermeil_data.mixed_batch import MixedBatch
    from vermeil_data.mixed_loader import FillReport, MixedLoader, MixedLoaderState, TaskReport

__all__ = [
    "MIN_DOCUMENTS",
    "Batch",
    "Captions",
    "Dataset",
    "DatasetCard",
    "DatasetWriter",
    "DecodedPicture",
    "Detokenizer",
    "EmbeddedSplit",
    "Embeddings",
    "EncodedDataset",
    "EncodedImages",
    "EncodedSamples",
    "FillReport",
    "ImageBatch",
    "ImageEncoding",
    "ImageLoader",
    "ImageLoaderState",
    "ImagesCard",
    "Loader",
    "LoaderState",
    "MixedBatch",
    "MixedLoader",
    "MixedLoaderState",
    "Mixture",
    "MixtureTask",
    "OpenMixture",
    "PromptSpeller",
    "Sample",
    "SampleArrays",
    "Segment",
    "ShardCard",
    "Skipped",
    "Split",
    "SplitBy",
    "SplitCard",
    "Splitter",
    "TaskReport",
    "TextTokenizer",
    "TokenArrays",
    "TokenizerCard",
    "TokenizerKind",
    "TokenizerSpec",
    "decoded_pictures",
    "encode_dataset",
    "encode_images",
    "encode_samples",
    "fit_tokenizer",
    "open_dataset",
    "open_embeddings",
    "open_encoded",
    "open_encoded_images",
    "open_encoded_samples",
    "open_mixture",
    "read_mixture",
    "train_tokenizer",
    "write_dataset",
    "write_embeddings",
]


_LOADING = {
    **dict.fromkeys(("Batch", "Loader", "LoaderState"), "vermeil_data.loader"),
    "MixedBatch": "vermeil_data.mixed_batch",
    **dict.fromkeys(
        ("FillReport", "MixedLoader", "MixedLoaderState", "TaskReport"), "vermeil_data.mixed_loader"
    ),
    **dict.fromkeys(("ImageBatch", "ImageLoader", "ImageLoaderState"), "vermeil_data.image_loader"),
}


def __getattr__(name: str) -> object:
    if name in _LOADING:
        return getattr(import_module(_LOADING[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
