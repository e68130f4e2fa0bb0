"""Embeddings of every picture of a dataset, plain: two folders in, one out."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from vermeil_data import Dataset, EmbeddedSplit, Embeddings, open_dataset, write_embeddings
from vermeil_data.pictures import Picture, pictures

from vermeil_encoders_image.dual_model import DualModel

_AT_ONCE = 64
Report = Callable[[int, int, str], None]
"""Called with pictures done, pictures in all and a sentence; may raise to stop."""


def embed(
    raw_folder: Path, model_folder: Path, folder: Path, *, dataset: str, model: str, report: Report
) -> Embeddings:
    """Embed a raw dataset by a dual model into `folder`; `dataset` and `model` name their versions."""
    raw, dual = open_dataset(raw_folder), DualModel(model_folder)
    total = sum(split.num_samples for split in raw.card.splits.values())
    done = 0
    splits: dict[str, EmbeddedSplit] = {}
    for name, card in sorted(raw.card.splits.items()):
        ids: list[str] = []
        vectors_NE = np.empty((card.num_samples, dual.width), np.float16)
        found = _pictures(raw, name)
        while some := list(islice(found, _AT_ONCE)):
            report(done, total, "embedding")
            pixels = [dual.pixels(picture.data, picture.id) for picture in some]
            vectors_NE[len(ids) : len(ids) + len(some)] = dual.embed_pictures(pixels)
            ids += (picture.id for picture in some)
            done += len(some)
        splits[name] = EmbeddedSplit(ids, vectors_NE)
    report(done, total, "embedding")
    return write_embeddings(folder, splits, model=model, dataset=dataset, width=dual.width)


def _pictures(raw: Dataset, split: str) -> Iterator[Picture]:
    for batch in raw.split(split).batches():
        yield from pictures(batch)
