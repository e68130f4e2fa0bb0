"""Pictures by formula and the layouts people keep them in, for the tests beside this file."""

import io
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from vermeil_data import Dataset, Sample, open_dataset
from vermeil_ingest.images.rules import ImageRules
from vermeil_ingest.ingest import Ingestion, ingest
from vermeil_ingest.sources import Source
from vermeil_media import Pixels, encode_png, resize_image


def pixels(number: int, height: int = 24, width: int = 24) -> Pixels:
    """Smooth blobs, different for each number."""
    coarse = np.random.default_rng(number).integers(0, 255, (5, 5, 3), np.uint8)
    return resize_image(coarse, height, width, "stretch")


def png(number: int, height: int = 24, width: int = 24) -> bytes:
    return encode_png(pixels(number, height, width))


def fill(folder: Path, *names: str) -> Path:
    """Write a different picture under each name."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    return folder


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return path


def run(tmp_path: Path, *sources: Source, rules: ImageRules | None = None, **settings: Any) -> Dataset:
    """Ingest into tmp_path/out, all for training unless told otherwise."""
    options = {"validation_fraction": 0.0, "images": rules or ImageRules(num_workers=1), **settings}
    ingestion = Ingestion("pictures", sources, **options)
    ingest(ingestion, tmp_path / "out", roots=[tmp_path])
    return open_dataset(tmp_path / "out")


def samples(dataset: Dataset, split: str = "train") -> dict[str, Sample]:
    return {sample.id: sample for sample in dataset.split(split)}


def captions(sample: Sample) -> list[str]:
    return [segment.text or "" for segment in sample.segments[:-1]]


def nonzero(dataset: Dataset) -> dict[str, int]:
    """Counts of the card, without buckets."""
    return {
        name: count for name, count in dataset.card.counts.items() if count and not name.startswith("bucket")
    }
