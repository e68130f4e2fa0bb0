"""Real pictures all the way; skipped where VERMEIL_DATA_DIR is not set."""

import os
from pathlib import Path

import pytest
from vermeil_data import Dataset, ImageEncoding, encode_images, open_dataset
from vermeil_ingest.images.rules import ImageRules
from vermeil_ingest.ingest import Ingestion, ingest
from vermeil_ingest.sources import Source


@pytest.fixture
def data_dir() -> Path:
    """Folder of real data."""
    folder = os.environ.get("VERMEIL_DATA_DIR")
    if not folder:
        pytest.skip("VERMEIL_DATA_DIR does not name a folder of real data")
    return Path(folder)


def taken_in(path: Path, folder: Path, near: int | None = None) -> Dataset:
    ingestion = Ingestion("real", (Source(path),), images=ImageRules(near_duplicates=near))
    ingest(ingestion, folder, roots=[path.parent])
    return open_dataset(folder)


@pytest.mark.slow
def test_fashion_mnist_becomes_classes_and_its_own_test_split(data_dir: Path, tmp_path: Path) -> None:
    dataset = taken_in(data_dir / "fashion-mnist", tmp_path / "raw")
    sizes = {name: split.num_samples for name, split in dataset.card.splits.items()}
    assert sizes["test"] == 10_000
    assert sizes["train"] + sizes["validation"] == 30_000
    encoded = encode_images(dataset, ImageEncoding(28, 28, 1), tmp_path / "encoded")
    names = (data_dir / "fashion-mnist/classes.txt").read_text().split("\n")
    assert encoded.class_names == tuple(name.strip() for name in names if name.strip())
    assert set(encoded.classes("test").tolist()) == set(range(10))
    # Clothes on black: the corners are dark.
    assert encoded.pixels("test")[:, 0, 0, 0].mean() < 3


def test_emoji_come_with_their_names_and_nearly_equal_ones_count_once(data_dir: Path, tmp_path: Path) -> None:
    dataset = taken_in(data_dir / "noto-emoji", tmp_path / "raw", near=2)
    captions = {sample.text: sample for name in dataset.card.splits for sample in dataset.split(name)}
    assert "raccoon" in captions
    assert captions["raccoon"].metadata["bucket"] == "1x1"
    counts = dataset.card.counts
    assert counts["written"] + counts["near_duplicate"] + counts["duplicate"] == 1405
    assert 1390 < counts["written"] < 1405


def test_easy_vqa_becomes_a_sample_a_question(data_dir: Path, tmp_path: Path) -> None:
    dataset = taken_in(data_dir / "easy-vqa", tmp_path / "raw")
    sizes = {name: split.num_samples for name, split in dataset.card.splits.items()}
    assert sizes["test"] == 9_673
    assert sizes["train"] + sizes["validation"] == 38_575
    assert dataset.card.counts["questions"] == 48_248
    answers = {sample.segments[-1].text for sample in dataset.split("validation")}
    assert answers <= set((data_dir / "easy-vqa/answers.txt").read_text().split())
